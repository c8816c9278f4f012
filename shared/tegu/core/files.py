"""Files that are written whole or not at all."""

from __future__ import annotations

import os
from pathlib import Path

from tegu.core.errors import FileError

__all__ = ["atomic_write", "make_folder"]


def atomic_write(path: Path, data: bytes, mode: int = 0o644) -> None:
    """Write a file whole or not at all, even when the machine stops half-way.

    Args:
        path: the file; an existing one is replaced.
        data: the whole content.
        mode: its permissions; by default others may read it, as is right for a file that is handed out.

    Raises:
        FileError: the folder is absent or not writable.
    """
    import tempfile  # noqa: PLC0415 # slow to import, and a device that only reads bundles does without

    try:
        handle, temporary = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
        try:
            with os.fdopen(handle, "wb") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
            Path(temporary).chmod(mode)
            Path(temporary).replace(path)
        except BaseException:  # an interrupt, too, leaves nothing behind
            Path(temporary).unlink(missing_ok=True)
            raise
    except (OSError, ValueError) as error:  # ValueError: a NUL in the path
        raise FileError(f"cannot write {path} ({_reason(error)}): choose a writable folder that exists") from error


def make_folder(path: Path) -> None:
    """Make a folder and those above it; nothing happens where it exists.

    Raises:
        FileError: it cannot be made, or a file has its name.
    """
    try:
        path.mkdir(parents=True, exist_ok=True)
    except (OSError, ValueError) as error:
        raise FileError(f"cannot make the folder {path} ({_reason(error)}): choose a writable folder") from error


def _reason(error: OSError | ValueError) -> str:
    return str(getattr(error, "strerror", None) or error)
