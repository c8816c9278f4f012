"""One compilation at a time: torch records functions with state that all threads share."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator

from tegu.learners.threads import one_thread

__all__ = ["compiling"]

_LOCK = threading.RLock()


@contextlib.contextmanager
def compiling() -> Iterator[None]:
    """Wait for compilations in other threads, and let torch compute with one thread inside the `with` block."""
    with _LOCK, one_thread():
        yield
