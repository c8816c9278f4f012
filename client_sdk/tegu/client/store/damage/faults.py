"""What an error of SQLite means, and what to do about it."""

from __future__ import annotations

import errno
import os
import sqlite3
from contextlib import suppress
from pathlib import Path

__all__ = ["REPAIR", "fix_for", "is_damage"]

REPAIR = (
    "close it and call tegu.client.repair_store, which keeps what is intact, or restore a backup; "
    "delete the file only to start again"
)

_FULL = "the disk is full and nothing is damaged: free some space and try again"
_FIXES = (
    ("readonly", "make the file and its folder writable, or choose another path"),
    ("not a database", f"choose another path; if it was a store, {REPAIR}"),
    ("locked", "another process is using it: close that process, or try again later"),
    ("full", _FULL),
    ("closed", "open it again"),
    ("unable to open", "create its folder, or choose a path that can be written"),
)
_DAMAGE = {sqlite3.SQLITE_ERROR, sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_MISMATCH, sqlite3.SQLITE_FORMAT}
_DISK = {sqlite3.SQLITE_IOERR, sqlite3.SQLITE_CANTOPEN}
_FREE_BYTES = 128 << 10  # the write-ahead log's index alone takes 32 KiB
_DESCRIPTORS = 3  # the file, its write-ahead log and the log's index


def is_damage(error: Exception) -> bool:
    """Whether an error shows that a file which is a store does not hold what was written."""
    symptom = any(symptom in str(error) for symptom, _ in _FIXES)
    return (_code(error) in _DAMAGE and not symptom) or isinstance(error, MemoryError | UnicodeError | OverflowError)


def fix_for(error: Exception, path: Path | None) -> str:
    """What to do about an error of SQLite or of the operating system, in words.

    Args:
        error: what was raised.
        path: the file; None for a database in memory.
    """
    if path is not None and _code(error) in _DISK:
        if _no_descriptors_left():
            return _too_many_files()
        if _free_bytes(path) < _FREE_BYTES:
            return _FULL
    if is_damage(error):
        return REPAIR
    found = next((fix for symptom, fix in _FIXES if symptom in str(error)), None)
    return found or "check the disk that holds it and try again; nothing was changed"


def _code(error: Exception) -> int:
    code: int = getattr(error, "sqlite_errorcode", sqlite3.SQLITE_OK)
    return code & 0xFF  # the rest says more about the same kind


def _no_descriptors_left() -> bool:
    opened: list[int] = []
    try:
        opened.extend(os.open(os.devnull, os.O_RDONLY) for _ in range(_DESCRIPTORS))
    except OSError as error:
        return error.errno in (errno.EMFILE, errno.ENFILE)
    finally:
        for descriptor in opened:
            os.close(descriptor)
    return False


def _too_many_files() -> str:
    limit = ""
    with suppress(ImportError, OSError):  # no such limit on Windows
        import resource  # noqa: PLC0415 # absent on Windows

        limit = f" of its {resource.getrlimit(resource.RLIMIT_NOFILE)[0]}"
    return (
        f"this process has no files{limit} left, and each open store takes {_DESCRIPTORS}: close stores that are not "
        "in use, or raise the limit (ulimit -n)"
    )


def _free_bytes(path: Path) -> float:
    try:
        found = os.statvfs(path.parent)
    except (OSError, AttributeError):  # the folder is absent; Windows has no statvfs
        return float("inf")
    return found.f_bavail * found.f_frsize
