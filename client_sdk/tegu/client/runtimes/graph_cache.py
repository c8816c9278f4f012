"""Graphs as optimised by ONNX Runtime, cached beside the store so that later starts need not optimise them again.

A file holds a sha256 and the optimised graph. The hash covers the optimised graph, the original graph, the runtime and
the processor. A file that is damaged, or comes from another model, version or machine, does not match and is replaced.
There is one file per graph, so upgrades of the model or the runtime leave no files behind.

The hash is no signature: whoever can write the file can make it match. So the folder must belong to this user alone
(`tegu.client.runtimes.private_folder`); otherwise nothing is cached, and nothing that lies there is used.
"""

from __future__ import annotations

import hashlib
import platform
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from tegu.client.runtimes.private_folder import opened_folder, read_own_file
from tegu.core.bundle.file import MAX_BYTES

__all__ = ["MIN_CACHED_BYTES", "SessionFactory", "open_with_cache"]

# Measured: for a CNN's adapt graph of 18 kB the cache saves 3 ms of 7, for a GRU's of 62 kB it saves 18 ms of 33.
# For an MLP's of 5 kB it would save 0.6 ms of 170 per start, while the first start spends several on writing the file.
MIN_CACHED_BYTES = 16 << 10

_HASH_BYTES = hashlib.sha256().digest_size


class SessionFactory(Protocol):
    """Makes a session from a serialised graph."""

    def __call__(self, graph: bytes, *, optimised: bool = False, save_to: Path | None = None) -> Any:
        """The session.

        Args:
            graph: serialised ONNX.
            optimised: whether the graph is already optimised and must not be optimised again.
            save_to: file to write the optimised graph to; None for no file.
        """


def open_with_cache(new_session: SessionFactory, graph: bytes, file: Path, runtime: str) -> Any:
    """A session of a graph, from the cache where possible. Otherwise the graph is optimised and cached.

    Args:
        new_session: makes the session; results do not depend on whether the graph comes from the cache.
        graph: serialised ONNX.
        file: the cache file. Its folder is created if absent; if it cannot be written or is not this user's alone,
            nothing is cached.
        runtime: exact build of the runtime that optimises.

    Raises:
        Exception: what `new_session` raises for the graph itself.
    """
    processor = _processor()
    if processor is None:
        return new_session(graph)
    origin = hashlib.sha256(f"{runtime}\n{processor}\n".encode() + graph).digest()
    cached = _read(file, origin)
    # ONNX Runtime's exceptions have no common base class. The last line raises what is wrong with the graph itself.
    if cached is not None:
        with suppress(Exception):
            return new_session(cached, optimised=True)
    with suppress(Exception):
        return _open_and_cache(new_session, graph, file, origin)
    return new_session(graph)


def _open_and_cache(new_session: SessionFactory, graph: bytes, file: Path, origin: bytes) -> Any:
    import tempfile  # noqa: PLC0415 # slow to import, and later starts do not need it

    with opened_folder(file.parent, create=True) as kept:
        # ONNX Runtime writes to a path, which others could exchange if they may write in a folder above the cache. A
        # new folder of the system's temporary ones has a name that nobody can guess, and no other user may enter it.
        with tempfile.TemporaryDirectory(prefix="tegu-") as folder:
            saved = Path(folder, "optimised.onnx")
            session = new_session(graph, save_to=saved)
            optimised = read_own_file(saved, MAX_BYTES)
        with suppress(OSError):
            kept.write(file.name, hashlib.sha256(origin + optimised).digest() + optimised)
    return session


def _read(file: Path, origin: bytes) -> bytes | None:
    """The cached graph; None where it is absent, does not match, or anybody else could have written it."""
    try:
        with opened_folder(file.parent) as kept:
            data = kept.read(file.name, MAX_BYTES)
    except OSError:
        return None
    optimised = data[_HASH_BYTES:]
    return optimised if hashlib.sha256(origin + optimised).digest() == data[:_HASH_BYTES] else None


def _processor() -> str | None:
    # A graph optimised for one vector width does not suit another, and a store may move to a new machine.
    config: Mapping[str, object] = np.show_config(mode="dicts")
    simd = config.get("SIMD Extensions")  # absent where numpy was built without SIMD
    return f"{platform.system()} {platform.machine()} {simd}" if simd else None
