"""One compilation at a time: torch records functions with state that all threads share."""

from __future__ import annotations

import contextlib
import gc
import threading
from collections.abc import Iterator

from tegu.learners.threads import one_thread

__all__ = ["compiling"]

_LOCK = threading.RLock()


@contextlib.contextmanager
def compiling() -> Iterator[None]:
    """Wait for compilations in other threads, and let torch compute with one thread inside the `with` block.

    Garbage is not searched for meanwhile: a compilation makes many objects, and a search reads all of torch's.
    """
    with _LOCK, one_thread(), _without_collection():
        yield


@contextlib.contextmanager
def _without_collection() -> Iterator[None]:
    if not gc.isenabled():  # the caller's choice, or a compilation within another
        yield
        return
    gc.disable()
    try:
        yield
    finally:
        gc.enable()
