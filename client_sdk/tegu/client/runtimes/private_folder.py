"""Files in a folder that belongs to this user alone, whoever may write in the folders above it.

Another user may make the folder first, replace it by a link, or rename it at any moment. The folder is therefore opened
once without following links, checked as it was opened, and its files are reached through that handle.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

__all__ = ["PrivateFolder", "opened_folder", "read_own_file"]

_NO_LINKS = getattr(os, "O_NOFOLLOW", 0)  # absent on Windows, as are the users of its modes
_READ = os.O_RDONLY | _NO_LINKS | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0)
_WRITE = os.O_WRONLY | os.O_CREAT | os.O_EXCL | _NO_LINKS | getattr(os, "O_BINARY", 0)
_HAS_HANDLES = os.open in os.supports_dir_fd


class PrivateFolder:
    """An open folder of this user.

    Args:
        path: its path.
        handle: its descriptor; None where the system has none for folders.
    """

    def __init__(self, path: Path, handle: int | None) -> None:
        self._path, self._handle = path, handle

    def read(self, name: str, most: int) -> bytes:
        """The content of a file.

        Raises:
            OSError: it is absent, longer than `most`, a link, no regular file, or others may write it.
        """
        return _content(os.open(self._named(name), _READ, dir_fd=self._handle), most)

    def write(self, name: str, data: bytes) -> None:
        """Write a file whole or not at all, readable by this user alone.

        Raises:
            OSError: it cannot be written.
        """
        temporary = f".{name}.{os.urandom(8).hex()}"
        descriptor = os.open(self._named(temporary), _WRITE, 0o600, dir_fd=self._handle)
        try:
            with os.fdopen(descriptor, "wb") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
            os.replace(  # Path.replace takes no handles
                self._named(temporary), self._named(name), src_dir_fd=self._handle, dst_dir_fd=self._handle
            )
        except BaseException:
            with suppress(OSError):
                os.unlink(self._named(temporary), dir_fd=self._handle)  # as above
            raise

    def _named(self, name: str) -> str:
        return str(self._path / name) if self._handle is None else name


@contextmanager
def opened_folder(path: Path, *, create: bool = False) -> Iterator[PrivateFolder]:
    """A folder, closed at the end of the block.

    Raises:
        OSError: it is absent, a link, no folder, of another user, or others may use it.
    """
    if create:
        with suppress(FileExistsError):
            path.mkdir(mode=0o700)
    if not _HAS_HANDLES:
        yield PrivateFolder(path, None)
        return
    handle = os.open(path, os.O_RDONLY | os.O_DIRECTORY | _NO_LINKS)
    try:
        status = os.fstat(handle)
        if status.st_uid != os.geteuid() or stat.S_IMODE(status.st_mode) & 0o077:
            raise PermissionError(f"{path} belongs to another user, or others may use it")
        yield PrivateFolder(path, handle)
    finally:
        os.close(handle)


def read_own_file(path: Path, most: int) -> bytes:
    """The content of a file in a folder that is known to be private; errors as `PrivateFolder.read`."""
    return _content(os.open(path, _READ), most)


def _content(descriptor: int, most: int) -> bytes:
    with os.fdopen(descriptor, "rb") as file:
        status = os.fstat(file.fileno())
        user = getattr(os, "geteuid", None)
        own = user is None or (status.st_uid == user() and not status.st_mode & 0o022)
        if not own or not stat.S_ISREG(status.st_mode) or status.st_size > most:
            raise PermissionError("it is no regular file of this user alone, or too long")
        return file.read(most)
