"""The zip that a bundle is: opened and read so that no file, whatever it claims, takes more than its own size.

A bundle has a handful of members, so its directory is small. A zip with millions of entries is refused before they are
listed; named pipes and devices are refused before they are read.
"""

from __future__ import annotations

import errno
import io
import os
import stat
import zipfile
from pathlib import Path
from typing import BinaryIO, TypeAlias, cast

from tegu.core.errors import BundleError

__all__ = ["BundleSource", "read_members"]

BundleSource: TypeAlias = str | Path | bytes | bytearray | memoryview | BinaryIO

_MAX_DIRECTORY = 1 << 16  # bytes; that of a bundle has a few hundred
_SHOWN = 30  # names in a message, and characters of each
_END, _END_BYTES, _ZIP64_BYTES = (
    b"PK\x05\x06",
    22,
    20,
)  # the record at a zip's end, and the one before it in a large zip
_ZIP64, _MAX_COMMENT = b"PK\x06\x07", 1 << 16


def read_members(source: BundleSource, max_bytes: int, required: frozenset[str], optional: str) -> dict[str, bytes]:
    """The members of a bundle by name.

    Args:
        source: path, bytes, or a file opened for reading bytes.
        max_bytes: larger files are refused before reading.
        required: names of members that must be there.
        optional: name of the only other one that may be there.

    Raises:
        BundleError: the file is absent, no regular file, truncated, oversized, or has other members or compressed ones.
    """
    name, opened = _opened(source, max_bytes)
    try:
        with opened:
            _check_directory(opened)
            with zipfile.ZipFile(opened) as archive:
                return _members(archive, opened.seek(0, io.SEEK_END), required, optional)
    except (zipfile.BadZipFile, EOFError, NotImplementedError, RuntimeError, ValueError, OSError) as error:
        raise BundleError(f"{name} is truncated or not a bundle ({error}): fetch it again") from error


def _opened(source: BundleSource, max_bytes: int) -> tuple[str, BinaryIO]:
    """The source's name for messages, and a file that the caller closes."""
    if isinstance(source, bytes | bytearray | memoryview):
        name, opened = "the bundle in bytes", cast("BinaryIO", io.BytesIO(source))
    elif isinstance(source, str | os.PathLike):
        name = str(source)
        try:
            opened = cast("BinaryIO", io.BufferedReader(io.FileIO(source, opener=_open_regular)))
        except (OSError, ValueError) as error:  # ValueError: a NUL in the path
            why = getattr(error, "strerror", None) or error
            raise BundleError(f"cannot read {name} ({why}): check the path, or fetch it again") from error
    else:
        name, opened = "the bundle in a file object", cast("BinaryIO", io.BytesIO(_content(source, max_bytes)))
    size = _size(name, opened)
    if size > max_bytes:
        opened.close()
        raise BundleError(
            f"{name} has {size} bytes, more than the {max_bytes} allowed: raise max_bytes if you trust the file"
        )
    return name, opened


def _size(name: str, opened: BinaryIO) -> int:
    try:
        return opened.seek(0, io.SEEK_END)
    except OSError as error:  # such as a file of the system's that has no end
        opened.close()
        raise BundleError(
            f"cannot read {name} ({error.strerror or error}): check the path, or fetch it again"
        ) from error


def _content(source: object, max_bytes: int) -> bytes:
    read = getattr(source, "read", None)
    try:
        content = read(max_bytes + 1) if callable(read) else None
    except (OSError, ValueError) as error:  # ValueError: a closed file
        raise BundleError(f"the bundle's file object cannot be read ({error}): open the file again") from error
    if not isinstance(content, bytes):
        found = f"a file opened for {type(content).__name__}" if callable(read) else f"a {type(source).__name__}"
        raise BundleError(
            f"the bundle is {found}: expected a path, bytes, or a file opened for reading bytes ('rb'); "
            "of a Run, pass its bundle"
        )
    return content


def _open_regular(path: str, flags: int) -> int:
    """A descriptor of a regular file. Opening a named pipe would wait for a writer, so it is opened without waiting."""
    descriptor = os.open(path, flags | getattr(os, "O_NONBLOCK", 0))  # absent on Windows, which has no such files
    mode = os.fstat(descriptor).st_mode
    if not stat.S_ISREG(mode):
        os.close(descriptor)
        raise OSError(os.strerror(errno.EISDIR) if stat.S_ISDIR(mode) else "it is no regular file")
    return descriptor


def _check_directory(opened: BinaryIO) -> None:
    """Check the size of the zip's directory, which `zipfile` reads as a whole.

    Raises:
        BundleError: it is too large, or the zip is of the kind for more than 4 GiB.
    """
    size = opened.seek(0, io.SEEK_END)
    begin = max(size - _END_BYTES - _MAX_COMMENT - _ZIP64_BYTES, 0)
    opened.seek(begin)
    tail = opened.read()
    at = len(tail) - _END_BYTES  # as zipfile looks for it: at the end, or before a comment
    if at < 0 or tail[at : at + 4] != _END or tail[-2:] != bytes(2):
        at = tail.rfind(_END)
    directory = int.from_bytes(tail[at + 12 : at + 16], "little") if at >= 0 else 0
    if directory > _MAX_DIRECTORY or (at >= _ZIP64_BYTES and tail[at - _ZIP64_BYTES : at - 16] == _ZIP64):
        raise BundleError("it has too many members to be a bundle: write one with write_bundle")


def _members(archive: zipfile.ZipFile, size: int, required: frozenset[str], optional: str) -> dict[str, bytes]:
    infos = archive.infolist()
    names = [info.filename for info in infos]
    unexpected = sorted(set(names) - required - {optional})
    missing = sorted(required - set(names))
    if unexpected or missing or len(names) != len(set(names)):
        raise BundleError(
            f"unexpected members {_some(unexpected)}, missing {missing}, found {_some(names)}: "
            "this is not a bundle; write one with write_bundle"
        )
    compressed = [info.filename for info in infos if info.compress_type != zipfile.ZIP_STORED]
    if compressed:
        raise BundleError(f"{_some(compressed)} are compressed: expected uncompressed members; use write_bundle")
    claimed = sum(info.file_size for info in infos)
    if claimed > size:
        raise BundleError(f"the members claim {claimed} bytes, but the file has {size}: fetch the bundle again")
    return {name: archive.read(name) for name in names}


def _some(names: list[str]) -> list[str]:
    """The first names, for a message."""
    return [name[:_SHOWN] for name in names[:_SHOWN]]
