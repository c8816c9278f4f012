"""A lock between processes that ends with its process, however that ends."""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Iterator
from pathlib import Path

from tegu.core.errors import FileError

__all__ = ["file_lock"]


@contextlib.contextmanager
def file_lock(path: Path) -> Iterator[bool]:
    """Try to lock `path` without waiting; true if the lock is held inside the `with`, false if another has it.

    Another may be another process or another call in this one. The file exists as long as the lock is held. A killed
    process leaves the file, but not the lock.

    Raises:
        FileError: the file cannot be made, or its file system has no locks.
    """
    handle = _acquired(path)
    if handle is None:
        yield False
        return
    try:
        yield True
    finally:
        if sys.platform == "win32":  # an open file cannot be removed there
            os.close(handle)
            with contextlib.suppress(OSError):
                path.unlink(missing_ok=True)
        else:
            with contextlib.suppress(OSError):
                path.unlink(missing_ok=True)
            os.close(handle)


def _acquired(path: Path) -> int | None:
    """A descriptor that holds the lock; None if another has it."""
    while True:
        try:
            handle = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
        except (OSError, ValueError) as error:
            raise FileError(f"cannot write {path} ({error}): choose a writable folder that exists") from error
        try:
            held = _try_lock(handle)
        except OSError as error:
            os.close(handle)
            raise FileError(
                f"cannot lock {path} ({error.strerror or error}): choose a folder on a file system with locks"
            ) from error
        if held and _is_still(path, handle):
            return handle
        os.close(handle)
        if not held:
            return None


def _is_still(path: Path, handle: int) -> bool:
    """Whether the path still leads to the locked file, which the previous holder may have removed meanwhile."""
    try:
        return os.path.samestat(path.stat(), os.fstat(handle))
    except FileNotFoundError:
        return False


if sys.platform == "win32":
    import msvcrt

    def _try_lock(handle: int) -> bool:
        try:
            msvcrt.locking(handle, msvcrt.LK_NBLCK, 1)
        except PermissionError:
            return False
        return True

else:
    import fcntl

    def _try_lock(handle: int) -> bool:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        return True
