"""Float32 numbers in fewer bytes: as float16, or as int8 with a float32 scale for every 512 of them.

What cannot be held stays visible, so that a reader can refuse it: beyond float16's range a number becomes infinite, and
a block of int8 with a NaN or an infinity decodes to NaN throughout. Equal input gives equal bits everywhere.
"""

from __future__ import annotations

from typing import Literal, TypeAlias, get_args

import numpy as np

from tegu.core.data.batch import Array
from tegu.core.errors import DataError, UnknownNameError

__all__ = ["BLOCK", "Precision", "check_precision", "decode", "encode"]

Precision: TypeAlias = Literal["float32", "float16", "int8"]
BLOCK = 512

_STEPS = 127  # symmetric: -128 is never written
# Of the largest float32, a 127th rounds up, and 127 times that is infinite.
_LARGEST_SCALE = np.nextafter(np.finfo(np.float32).max / np.float32(_STEPS), np.float32(0))


def check_precision(name: str) -> Precision:
    """The precision called `name`.

    Raises:
        UnknownNameError: there is none; the message names the nearest.
    """
    for known in get_args(Precision):
        if name == known:
            return known  # type: ignore[no-any-return] # get_args has no types
    raise UnknownNameError("precision", name, get_args(Precision))


def encode(flat: Array, precision: Precision) -> tuple[Array, Array]:
    """Codes and their scales.

    An entry of float16 is the nearest there is; beyond +-65504 that is an infinity. In int8 a block's scale is its
    largest absolute entry over 127, and an entry is off by at most half a scale; below 1e-43 it may become 0.

    Args:
        flat: float32 `[n]`.
        precision: of the codes.

    Returns:
        Codes, `[n]` of the dtype that `precision` names, and scales, float32 `[ceil(n / 512)]` for int8 and `[0]`
        otherwise. A block of zeros has scale 0, one with a NaN or an infinity has scale NaN.

    Raises:
        DataError: `flat` has another dtype or more dimensions.
        UnknownNameError: no such precision.
    """
    if flat.dtype != np.float32 or flat.ndim != 1:
        raise DataError(f"cannot encode {flat.dtype}{list(flat.shape)}: expected float32 with one dimension")
    precision = check_precision(precision)
    if precision == "int8":
        return _int8(flat)
    with np.errstate(over="ignore"):  # an infinity is what is wanted
        return flat.astype(precision), np.zeros(0, np.float32)


def _int8(flat: Array) -> tuple[Array, Array]:
    largest = np.maximum.reduceat(np.abs(flat), np.arange(0, len(flat), BLOCK))
    scales = np.where(np.isfinite(largest), np.minimum(largest / np.float32(_STEPS), _LARGEST_SCALE), np.float32("nan"))
    spread = _spread(scales, len(flat))
    steps = np.divide(flat, spread, out=np.zeros_like(flat), where=spread > 0)
    # A scale with few bits left (below 1e-38) can be too small for its block.
    return np.clip(np.rint(steps), -_STEPS, _STEPS).astype(np.int8), scales


def decode(codes: Array, scales: Array) -> Array:
    """What `encode` was given, but for rounding: float32 `[n]`.

    Args:
        codes: float32, float16 or int8 `[n]`.
        scales: float32 `[ceil(n / 512)]` for int8, `[0]` otherwise.

    Raises:
        DataError: codes and scales do not belong together; their values are not checked.
    """
    if codes.dtype.name not in get_args(Precision) or codes.ndim != 1:
        raise DataError(
            f"cannot decode {codes.dtype}{list(codes.shape)}: expected {', '.join(get_args(Precision))} "
            "with one dimension"
        )
    blocks = -(-len(codes) // BLOCK) if codes.dtype == np.int8 else 0
    if scales.dtype != np.float32 or scales.shape != (blocks,):
        raise DataError(
            f"{len(codes)} {codes.dtype} codes came with scales {scales.dtype}{list(scales.shape)}: "
            f"expected float32[{blocks}]; take both from one encoding"
        )
    numbers = codes.astype(np.float32)
    if blocks:
        with np.errstate(over="ignore", invalid="ignore"):  # scales that nobody encoded
            numbers *= _spread(scales, len(codes))
    return numbers


def _spread(scales: Array, count: int) -> Array:
    """`[count]`: each entry's scale."""
    return np.repeat(scales, BLOCK)[:count]
