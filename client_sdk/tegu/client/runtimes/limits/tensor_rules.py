"""Which constants and which types of a graph are refused."""

from __future__ import annotations

import math
import struct
from typing import NamedTuple

from tegu.client.runtimes.limits.wire_format import LENGTH, VARINT, Reader, Span
from tegu.core.errors import RuntimeFailure

__all__ = ["MAX_RANK", "Constant", "check_tensor", "check_type"]

MAX_RANK = 16
_ELEMENTS = {1, 2, 3, 4, 5, 6, 7, 9, 10, 11, 12, 13, 16}  # numbers and booleans; 8 is text
_INT64 = 7
_FEW = 64  # numbers in a constant that may say how often or how large

# TensorProto
_DIMS, _DATA_TYPE, _INT64_DATA, _NAME, _RAW, _EXTERNAL, _LOCATION = 1, 2, 7, 8, 9, 13, 14
_PLAIN = {4, 5, 10, 11, 12, 16}
# TypeProto and TypeProto.Tensor
_TENSOR_TYPE, _DENOTATION, _ELEM_TYPE, _SHAPE, _DIM = 1, 6, 1, 2, 1


class Constant(NamedTuple):
    """A constant of a graph: where its name is, and its numbers if they are few and whole."""

    name: Span
    numbers: tuple[int, ...]


def check_tensor(reader: Reader, span: Span) -> Constant:
    """Check a `TensorProto`.

    Raises:
        RuntimeFailure: its data lie in another file, it is no tensor of numbers, or claims more of them than it has.
    """
    dims, kind, name, raw, listed = list[int](), 0, (0, 0), (0, 0), list[int]()
    for number, wire, begin, end in reader.fields(span):
        if number == _EXTERNAL or (number == _LOCATION and begin):
            raise RuntimeFailure("a constant lies in another file (external data)")
        if number == _DIMS:
            dims.extend(reader.integers(wire, begin, end))
        elif number == _DATA_TYPE and wire == VARINT:
            kind = begin
        elif number == _NAME and wire == LENGTH:
            name = (begin, end)
        elif number == _RAW and wire == LENGTH:
            raw = (begin, end)
        elif number == _INT64_DATA:
            listed.extend(reader.integers(wire, begin, end) if end - begin <= _FEW * 10 else ())
        elif number not in _PLAIN | {_LOCATION}:
            raise RuntimeFailure(f"a constant has the field {number}, which is not allowed")
    if kind not in _ELEMENTS:
        raise RuntimeFailure(f"a constant has elements of type {kind}, which are no numbers")
    if len(dims) > MAX_RANK or min(dims, default=0) < 0 or math.prod(dims) > 2 * (span[1] - span[0]):
        raise RuntimeFailure(f"a constant claims the shape {dims[: MAX_RANK + 1]}, for which it has too few bytes")
    return Constant(name, _numbers(reader.data, kind, raw, listed))


def _numbers(data: bytes, kind: int, raw: Span, listed: list[int]) -> tuple[int, ...]:
    size = raw[1] - raw[0]
    if kind != _INT64 or size % 8 or size > 8 * _FEW:
        return ()
    return tuple(listed) or struct.unpack_from(f"<{size // 8}q", data, raw[0])


def check_type(reader: Reader, span: Span) -> None:
    """Check a `TypeProto`.

    Raises:
        RuntimeFailure: it is not a tensor of numbers of at most `MAX_RANK` axes.
    """
    typed = False
    for number, wire, begin, end in reader.fields(span):
        if number == _DENOTATION:
            continue
        if number != _TENSOR_TYPE or wire != LENGTH:
            raise RuntimeFailure("a value is no tensor, but a sequence, a map or an optional value")
        typed = True
        _check_tensor_type(reader, (begin, end))
    if not typed:
        raise RuntimeFailure("a value has no type")


def _check_tensor_type(reader: Reader, span: Span) -> None:
    elements = 0
    for number, wire, begin, end in reader.fields(span):
        if number == _ELEM_TYPE and wire == VARINT:
            elements = begin
        elif number == _SHAPE and wire == LENGTH:
            rank = sum(field[0] == _DIM for field in reader.fields((begin, end)))
            if rank > MAX_RANK:
                raise RuntimeFailure(f"a value has {rank} axes, more than the {MAX_RANK} allowed")
        else:
            raise RuntimeFailure(f"a type has the field {number}, which is not allowed")
    if elements not in _ELEMENTS:
        raise RuntimeFailure(f"a value has elements of type {elements}, which are no numbers")
