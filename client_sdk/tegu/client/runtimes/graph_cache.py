"""Graphs that ONNX Runtime has optimised, kept beside the store: a later start need not optimise them again.

A file is a sha256 and the optimised graph. The sum covers that graph, the graph it was made from, and the runtime and
processor it was made by and for. So a file that is damaged, or is of another model, version or machine, is not
recognised, and is written anew. One file a graph: upgrades of model or runtime leave nothing behind.
"""

from __future__ import annotations

import hashlib
import os
import platform
import stat
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from tegu.core.bundle.file import MAX_BYTES
from tegu.core.errors import FileError
from tegu.core.files import atomic_write

__all__ = ["MIN_CACHED_BYTES", "OpenGraph", "open_with_cache"]

# Measured on a CNN's adapt graph of 18 kB, the cache saves 3 ms of 7, and on a GRU's of 62 kB, 18 ms of 33; on an
# MLP's of 5 kB it would save 0.6 ms a start, of 170, while the first start writes and syncs a file for several.
MIN_CACHED_BYTES = 16 << 10

_SUM = hashlib.sha256().digest_size


class OpenGraph(Protocol):
    """What makes a session of a serialised graph."""

    def __call__(self, graph: bytes, *, optimised: bool = False, save_to: Path | None = None) -> Any:
        """The session.

        Args:
            graph: serialised ONNX.
            optimised: it was optimised before, and is to be taken as it is.
            save_to: where to write what optimising makes of it.
        """


def open_with_cache(open_graph: OpenGraph, graph: bytes, file: Path, runtime: str) -> Any:
    """A session of a graph, from what an earlier call kept of it or, failing that, anew; anew it is kept.

    Args:
        open_graph: makes the session; the same graph gives the same results whether it was kept or not.
        graph: serialised ONNX.
        file: where the optimised graph is kept; its folder is made where it is absent, and where it cannot be
            written, nothing is kept.
        runtime: the exact build of what optimises.

    Raises:
        Exception: what `open_graph` raises of the graph itself.
    """
    processor = _processor()
    if processor is None:
        return open_graph(graph)
    origin = hashlib.sha256(f"{runtime}\n{processor}\n".encode() + graph).digest()
    kept = _read(file, origin)
    # ONNX Runtime's exceptions have no root of their own. Whatever is wrong with the graph itself, the last line says.
    if kept is not None:
        with suppress(Exception):
            return open_graph(kept, optimised=True)
    with suppress(Exception):
        return _open_and_keep(open_graph, graph, file, origin)
    return open_graph(graph)


def _open_and_keep(open_graph: OpenGraph, graph: bytes, file: Path, origin: bytes) -> Any:
    import tempfile  # noqa: PLC0415 # slow to import, and a later start does without

    file.parent.mkdir(mode=0o700, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".", dir=file.parent) as folder:
        saved = Path(folder, "optimised.onnx")
        session = open_graph(graph, save_to=saved)
        optimised = saved.read_bytes()
    with suppress(FileError):
        atomic_write(file, hashlib.sha256(origin + optimised).digest() + optimised, mode=0o600)
    return session


def _read(file: Path, origin: bytes) -> bytes | None:
    """The optimised graph; None where there is none, or none to be trusted."""
    try:
        if not _is_own(file.stat()):
            return None
        data = file.read_bytes()
    except OSError:
        return None
    optimised = data[_SUM:]
    return optimised if hashlib.sha256(origin + optimised).digest() == data[:_SUM] else None


def _is_own(status: os.stat_result) -> bool:
    # The sum is no signature: whoever may write the file can make it fit.
    user = getattr(os, "geteuid", None)  # Windows has none, and its modes say nothing of other users
    private = user is None or (status.st_uid == user() and not status.st_mode & 0o022)
    return private and stat.S_ISREG(status.st_mode) and status.st_size <= MAX_BYTES


def _processor() -> str | None:
    # A graph optimised for one width of vectors is laid out wrongly for another, and a store may move to a new machine.
    config: Mapping[str, object] = np.show_config(mode="dicts")
    simd = config.get("SIMD Extensions")  # absent where numpy was built to use none
    return f"{platform.system()} {platform.machine()} {simd}" if simd else None
