"""Float32 numbers in fewer bytes: as float16, or as int8 with one float32 scale per block of 512.

Values that cannot be represented stay detectable. Beyond float16's range a number becomes infinite. An int8 block with
a NaN or an infinity decodes to NaN throughout. Equal input gives equal bits on every machine.
"""

from __future__ import annotations

from typing import Literal, TypeAlias, get_args

import numpy as np

from tegu.core.data.batch import Array
from tegu.core.errors import DataError, UnknownNameError

__all__ = ["BLOCK", "Precision", "check_precision", "decode", "encode"]

Precision: TypeAlias = Literal["float32", "float16", "int8"]
BLOCK = 512

_MAX_CODE = 127  # symmetric: -128 is never written
# A 127th of the largest float32 rounds up, and 127 times the rounded value is infinite.
_MAX_SCALE = np.nextafter(np.finfo(np.float32).max / np.float32(_MAX_CODE), np.float32(0))


def check_precision(name: str) -> Precision:
    """The precision called `name`.

    Raises:
        UnknownNameError: there is none; the message suggests the nearest.
    """
    for known in get_args(Precision):
        if name == known:
            return known  # type: ignore[no-any-return] # get_args has no types
    raise UnknownNameError("precision", name, get_args(Precision))


def encode(flat: Array, precision: Precision) -> tuple[Array, Array]:
    """Encode numbers as codes and scales.

    float16 rounds to the nearest value; beyond +-65504 that is an infinity. For int8, a block's scale is its largest
    absolute entry divided by 127, and an entry's error is at most half a scale; entries below 1e-43 may become 0.

    Args:
        flat: float32 `[n]`.
        precision: of the codes.

    Returns:
        Codes, `[n]` of the dtype that `precision` names, and scales, float32 `[ceil(n / 512)]` for int8 and `[0]`
        otherwise. A block of zeros has scale 0; a block with a NaN or an infinity has scale NaN.

    Raises:
        DataError: `flat` is not float32 with one dimension.
        UnknownNameError: no such precision.
    """
    if flat.dtype != np.float32 or flat.ndim != 1:
        raise DataError(f"cannot encode {flat.dtype}{list(flat.shape)}: expected float32 with one dimension")
    precision = check_precision(precision)
    if precision == "int8":
        return _int8(flat)
    with np.errstate(over="ignore"):  # infinities are intended
        return flat.astype(precision), np.zeros(0, np.float32)


def _int8(flat: Array) -> tuple[Array, Array]:
    largest = np.maximum.reduceat(np.abs(flat), np.arange(0, len(flat), BLOCK))
    scales = np.where(np.isfinite(largest), np.minimum(largest / np.float32(_MAX_CODE), _MAX_SCALE), np.float32("nan"))
    per_entry = _entry_scales(scales, len(flat))
    codes = np.divide(flat, per_entry, out=np.zeros_like(flat), where=per_entry > 0)
    # A subnormal scale (below 1e-38) has few bits and can be too small for its block.
    return np.clip(np.rint(codes), -_MAX_CODE, _MAX_CODE).astype(np.int8), scales


def decode(codes: Array, scales: Array) -> Array:
    """Decode numbers, up to rounding: float32 `[n]`.

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
        with np.errstate(over="ignore", invalid="ignore"):  # scales that do not come from encode
            numbers *= _entry_scales(scales, len(codes))
    return numbers


def _entry_scales(scales: Array, count: int) -> Array:
    """The scale of each entry, `[count]`."""
    return np.repeat(scales, BLOCK)[:count]
