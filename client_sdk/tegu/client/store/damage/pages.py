"""The records in a SQLite file's pages, read without SQLite, which refuses a file whose first page is damaged.

The format is https://www.sqlite.org/fileformat2.html, sections 1.5, 1.6, 2.1 and 4.1. Whatever cannot be decoded is
left out. What is found may be wrong all the same: the caller verifies checksums.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import NamedTuple, TypeAlias

__all__ = ["Record", "logged_pages", "records_in"]

Value: TypeAlias = int | float | bytes | str | None

_LEAF = 0x0D  # a page that holds rows of a table
_PAGE_SIZES = [1 << power for power in range(9, 17)]
_USUAL_PAGE_SIZE = 4096
_FILE_HEADER, _LOG_HEADER, _FRAME_HEADER = 100, 32, 24
_INTEGER_BYTES = {1: 1, 2: 2, 3: 3, 4: 4, 5: 6, 6: 8}
_UNREADABLE = (struct.error, IndexError, KeyError, UnicodeDecodeError, OverflowError)


class Record(NamedTuple):
    """A row of some table.

    Attributes:
        rowid: its number.
        values: its columns; the one that holds the number is None.
    """

    rowid: int
    values: tuple[Value, ...]


def records_in(file: Path) -> Iterator[Record]:
    """All records that can be decoded, of the file and of its write-ahead log.

    Raises:
        OSError: the file cannot be read.
    """
    content = file.read_bytes()
    size = _page_size(content)
    pages = {1 + start // size: content[start : start + size] for start in range(0, len(content), size)}
    log = Path(f"{file}-wal")
    pages |= logged_pages(log.read_bytes(), size) if log.exists() else {}
    for number, page in pages.items():
        yield from _records_of(page, _FILE_HEADER if number == 1 else 0, pages, size)


def _page_size(content: bytes) -> int:
    found = int.from_bytes(content[16:18], "big")
    return found if found in _PAGE_SIZES else 65536 if found == 1 else _USUAL_PAGE_SIZE


def logged_pages(log: bytes, size: int) -> dict[int, bytes]:
    """The newest committed version of each page in the log."""
    salt, committed, pending = log[16:24], dict[int, bytes](), dict[int, bytes]()
    for start in range(_LOG_HEADER, len(log) - _FRAME_HEADER - size + 1, _FRAME_HEADER + size):
        number, pages_after_commit = struct.unpack_from(">II", log, start)
        if log[start + 8 : start + 16] != salt:
            break  # left over from before the log began anew
        pending[number] = log[start + _FRAME_HEADER : start + _FRAME_HEADER + size]
        if pages_after_commit:
            committed |= pending
            pending = {}
    return committed


def _records_of(page: bytes, start: int, pages: Mapping[int, bytes], size: int) -> Iterator[Record]:
    if page[start : start + 1] != bytes([_LEAF]) or len(page) < size:
        return
    cells = int.from_bytes(page[start + 3 : start + 5], "big")
    for index in range(min(cells, size // 2)):
        try:
            (cell,) = struct.unpack_from(">H", page, start + 8 + 2 * index)
            length, cell = _varint(page, cell)
            rowid, cell = _varint(page, cell)
            yield Record(rowid, _decoded(_payload(page, cell, length, pages, size)))
        except _UNREADABLE:
            continue


def _payload(page: bytes, start: int, length: int, pages: Mapping[int, bytes], size: int) -> bytes:
    """A record's bytes: on the page, and where they do not fit on a chain of further pages."""
    here = length
    if length > size - 35:
        least = (size - 12) * 32 // 255 - 23
        here = least + (length - least) % (size - 4)
        here = here if here <= size - 35 else least
    parts, left = [page[start : start + here]], length - here
    following = int.from_bytes(page[start + here : start + here + 4], "big")
    while left > 0:
        further = pages[following]
        parts.append(further[4 : 4 + min(left, size - 4)])
        if not parts[-1]:
            raise IndexError
        following, left = int.from_bytes(further[:4], "big"), left - len(parts[-1])
    return b"".join(parts)


def _decoded(payload: bytes) -> tuple[Value, ...]:
    end, at = _varint(payload, 0)
    kinds = []
    while at < end:
        kind, at = _varint(payload, at)
        kinds.append(kind)
    values: list[Value] = []
    for kind in kinds:
        value, length = _value(payload, end, kind)
        values.append(value)
        end += length
    return tuple(values)


def _value(payload: bytes, at: int, kind: int) -> tuple[Value, int]:
    if kind in (0, 8, 9):
        return (None if kind == 0 else kind - 8), 0
    if kind == 7:
        (number,) = struct.unpack_from(">d", payload, at)
        return float(number), 8
    length = (kind - 12) // 2 if kind >= 12 else _INTEGER_BYTES[kind]
    found = payload[at : at + length]
    if len(found) < length:
        raise IndexError
    if kind < 12:
        return int.from_bytes(found, "big", signed=True), length
    return (found if kind % 2 == 0 else found.decode()), length


def _varint(data: bytes, at: int) -> tuple[int, int]:
    """A whole number of up to nine bytes, and where it ends."""
    value = 0
    for index in range(9):
        byte = data[at + index]
        if index == 8:
            value = value << 8 | byte
            return value - (1 << 64) if value >= 1 << 63 else value, at + 9
        value = value << 7 | byte & 0x7F
        if not byte & 0x80:
            return value, at + index + 1
    raise IndexError
