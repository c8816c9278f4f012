"""The records of a store, and the checksums by which damage to them is seen.

A checksum is 8 bytes of BLAKE2b. It finds damage; it is no defence against an attacker who can write the file.
A row's checksum covers its number too, so rows that change places are seen. `About` counts the rows and adds up their
checksums, so rows that are missing, repeated or of an older time are seen.
"""

from __future__ import annotations

import hashlib
import struct
from collections.abc import Iterable, Sequence
from typing import NamedTuple

import numpy as np

__all__ = ["SELECT_ABOUT", "SELECT_ROWS", "About", "Row", "added", "row_checksum", "state_checksum", "subtracted"]

SELECT_ABOUT = "SELECT identity, spec, encoding, erasures, last, row_count, total, personal, checksum FROM about"
SELECT_ROWS = "SELECT number, id, x, y, item, label, observed_at, checksum FROM interactions"

_BYTES = 8
_MODULUS = 1 << 8 * _BYTES
_NUMBERS, _LENGTHS = struct.Struct("<qdqq"), struct.Struct("<qqq")
_ABSENT = -1  # instead of a length
_NO_TEXTS = _LENGTHS.pack(_ABSENT, _ABSENT, _ABSENT)


class Row(NamedTuple):
    """One interaction as stored.

    Attributes:
        number: the rows' order; never used twice.
        id: the application's id; None where it gave none.
        x: the input's bytes.
        y: the target's bytes.
        item: the item's id in the catalogue, as JSON; None where the bundle names no items.
        label: the label's name, as JSON; None where the bundle names no labels.
        observed_at: Unix time in seconds.
        checksum: of all others.
    """

    number: int
    id: str | None
    x: bytes
    y: bytes
    item: str | None
    label: str | None
    observed_at: float
    checksum: bytes = b""

    def at(self, number: int, observed_at: float) -> Row:
        """The same at another place and time, with its checksum."""
        moved = Row(number, *self[1:6], observed_at)
        return Row(*moved[:7], row_checksum(moved))

    def is_intact(self) -> bool:
        """Whether the row is what was written."""
        try:
            return self.checksum == row_checksum(self)
        except (TypeError, AttributeError, struct.error):  # damage can change a value's type
            return False


class About(NamedTuple):
    """What a store says about itself.

    Attributes:
        identity: of the model that it belongs to.
        spec: of its rows, as JSON.
        encoding: digest of how raw columns became its rows; None where they did not come from raw columns.
        erasures: how often rows were erased.
        last: the largest number that a row has had.
        row_count: the number of rows.
        total: the sum of the rows' checksums.
        personal: the personal state's checksum; None where there is no state.
        checksum: of all others.
    """

    identity: str
    spec: str
    encoding: str | None
    erasures: int
    last: int
    row_count: int
    total: bytes
    personal: bytes | None
    checksum: bytes = b""

    def sealed(self) -> About:
        """The same with its checksum."""
        return self._replace(checksum=_checksum(repr(self[:-1]).encode()))

    def with_rows(self, rows: Sequence[Row], outdated: Sequence[bytes]) -> About:
        """The same, unsealed, after `rows` were written over those with the checksums `outdated`."""
        return self._replace(
            last=max([self.last, *(row.number for row in rows)]),
            row_count=self.row_count + len(rows) - len(outdated),
            total=added(subtracted(self.total, outdated), (row.checksum for row in rows)),
        )

    def is_intact(self) -> bool:
        """Whether it is what was written."""
        return bool(self.checksum == self.sealed().checksum)


def row_checksum(row: Row) -> bytes:
    """The checksum of a row; its field `checksum` does not count."""
    number, name, x, y, item, label, observed_at, _ = row
    header = _NUMBERS.pack(number, observed_at, len(x), len(y))
    if name is item is label is None:  # as most are, and there may be many
        return _checksum(b"".join((header, _NO_TEXTS, x, y)))
    texts = [None if text is None else text.encode() for text in (name, item, label)]
    lengths = _LENGTHS.pack(*(_ABSENT if text is None else len(text) for text in texts))
    return _checksum(b"".join((header, lengths, x, y, *filter(None, texts))))


def state_checksum(state: bytes, interactions: int) -> bytes:
    """The checksum of a personal state and of the number of interactions that it was adapted on."""
    return _checksum(state + repr(interactions).encode())


def added(total: bytes, checksums: Iterable[bytes]) -> bytes:
    """The sum of checksums, whose order does not matter."""
    return _bytes(_number(total) + _sum(checksums))


def subtracted(total: bytes, checksums: Iterable[bytes]) -> bytes:
    """The inverse of `added`."""
    return _bytes(_number(total) - _sum(checksums))


def _checksum(data: bytes) -> bytes:
    return hashlib.blake2b(data, digest_size=_BYTES).digest()


def _sum(checksums: Iterable[bytes]) -> int:
    return int(np.frombuffer(b"".join(checksums), "<u8").sum(dtype=np.uint64))


def _number(checksum: bytes) -> int:
    return int.from_bytes(checksum, "little")


def _bytes(number: int) -> bytes:
    return (number % _MODULUS).to_bytes(_BYTES, "little")
