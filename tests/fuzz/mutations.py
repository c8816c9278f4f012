"""Random damage to bytes, and to the values in a tree of lists, mappings and numbers."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any

__all__ = ["mutated_bytes", "mutated_value"]

_NUMBERS: list[Any] = [
    *(0, 1, -1, 2**31, 2**62, -(2**63), 2**64, 10**30, 1e18, 1e308, -1e308, 5e-324),
    *(float("nan"), float("inf"), float("-inf"), 0.5, True, None),
]
_TEXTS = [
    "",
    "nan",
    "1e400",
    "-1",
    "a\0b",
    "\x1b[2J",
    "x" * 5000,
    "../../etc/passwd",
    "\ud800",
    "int64",
    "numpy.ndarray",
]


def mutated_bytes(data: bytes, rng: random.Random) -> bytes:
    """The data with flipped, written, missing, added, copied or reversed bytes."""
    changed = bytearray(data)
    for _ in range(rng.choice([1, 1, 2, 5])):
        if not changed:
            break
        at = rng.randrange(len(changed))
        _BYTES[rng.randrange(len(_BYTES))](changed, at, rng)
    return bytes(changed)


def _flip(data: bytearray, at: int, rng: random.Random) -> None:
    data[at] ^= 1 << rng.randrange(8)


def _write(data: bytearray, at: int, rng: random.Random) -> None:
    for position in range(at, min(at + rng.choice([1, 4, 8]), len(data))):
        data[position] = rng.choice([0, 255, 127, 128, rng.randrange(256)])


def _cut(data: bytearray, at: int, rng: random.Random) -> None:
    del data[at : rng.choice([len(data), at + 1, at + rng.randint(1, 64)])]


def _grow(data: bytearray, at: int, rng: random.Random) -> None:
    data[at:at] = rng.randbytes(rng.randint(1, 64))


def _copy(data: bytearray, at: int, rng: random.Random) -> None:
    data[at:at] = data[at : at + rng.randint(1, 256)]


def _reverse(data: bytearray, at: int, rng: random.Random) -> None:
    end = at + rng.randint(2, 64)
    data[at:end] = data[at:end][::-1]


_BYTES: list[Callable[[bytearray, int, random.Random], None]] = [_flip, _write, _cut, _grow, _copy, _reverse]


def mutated_value(value: Any, rng: random.Random) -> Any:
    """A tree of mappings, lists and scalars of which a part is changed, missing, repeated or of another type.

    The tree itself stays as it is.
    """
    if isinstance(value, dict) and value and rng.random() < 0.9:
        changed = dict(value)
        name = rng.choice([*changed])
        match rng.randrange(8):
            case 0:
                del changed[name]
            case 1:
                changed[rng.choice(_TEXTS)] = changed.pop(name)
            case 2:
                changed[rng.choice(_TEXTS)] = changed[name]
            case _:
                changed[name] = mutated_value(changed[name], rng)
        return changed
    if isinstance(value, list) and value and rng.random() < 0.9:
        at = rng.randrange(len(value))
        return rng.choice([value[:at], value * 2, [*value[:at], mutated_value(value[at], rng), *value[at + 1 :]]])
    return rng.choice([rng.choice(_NUMBERS), rng.choice(_TEXTS), [], {}, [value], {"a": value}])
