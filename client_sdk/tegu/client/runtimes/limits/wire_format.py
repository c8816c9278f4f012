"""Protobuf messages, read without the onnx package: https://protobuf.dev/programming-guides/encoding/.

Nothing is copied or allocated for a message but the positions of its fields, and `Reader` ends at a number of fields.
"""

from __future__ import annotations

from collections.abc import Iterator

from tegu.core.errors import RuntimeFailure

__all__ = ["LENGTH", "VARINT", "Reader", "Span"]

VARINT, FIXED64, LENGTH, FIXED32 = 0, 1, 2, 5
_FIXED = {FIXED64: 8, FIXED32: 4}
_MOST_DIGITS = 10  # of seven bits each, in a number of 64 bits

Span = tuple[int, int]


class Reader:
    """Reads the fields of messages within one buffer.

    Args:
        data: serialised messages.
        most_fields: fields to read in all; the time to read grows with them.
    """

    def __init__(self, data: bytes, most_fields: int) -> None:
        self.data = data
        self._most, self._left = most_fields, most_fields

    def fields(self, span: Span) -> Iterator[tuple[int, int, int, int]]:
        """The fields of the message in `span`.

        Yields:
            Number, wire type, and where the content begins and ends; of a varint its value, and 0.

        Raises:
            RuntimeFailure: it is no message, or there are too many fields.
        """
        at, end = span
        data = self.data
        while at < end:
            self._left -= 1
            if self._left < 0:
                raise RuntimeFailure(f"it has more than {self._most} fields")
            key, at = self._varint(at, end)
            number, kind = key >> 3, key & 7
            if kind == VARINT:
                value, at = self._varint(at, end)
                yield number, kind, value, 0
                continue
            if kind == LENGTH:
                length, at = (data[at], at + 1) if at < end and data[at] < 0x80 else self._varint(at, end)
            elif kind in _FIXED:
                length = _FIXED[kind]
            else:
                raise RuntimeFailure(f"it has a field of the wire type {kind}")
            if length > end - at:
                raise RuntimeFailure("a field is longer than its message")
            yield number, kind, at, at + length
            at += length

    def integers(self, kind: int, begin: int, end: int) -> Iterator[int]:
        """The signed numbers of a repeated field, packed or not, as `fields` yields it."""
        if kind == VARINT:
            yield _signed(begin)
            return
        while begin < end:
            value, begin = self._varint(begin, end)
            yield _signed(value)

    def _varint(self, at: int, end: int) -> tuple[int, int]:
        value = shift = 0
        for position in range(at, min(end, at + _MOST_DIGITS)):
            byte = self.data[position]
            value |= (byte & 0x7F) << shift
            if byte < 0x80:
                return value & 0xFFFF_FFFF_FFFF_FFFF, position + 1
            shift += 7
        raise RuntimeFailure("it is truncated, or a number in it is too long")


def _signed(value: int) -> int:
    return value - (1 << 64) if value >> 63 else value
