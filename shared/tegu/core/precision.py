"""Numbers in fewer bytes: float16, or int8 with a scale for every block of 512."""

from __future__ import annotations

from typing import Literal, TypeAlias, cast, get_args

import numpy as np

from tegu.core.batch import Array
from tegu.core.errors import DataError, UnknownNameError

__all__ = ["BLOCK", "Precision", "check_precision", "decode", "encode"]

Precision: TypeAlias = Literal["float32", "float16", "int8"]
BLOCK = 512


def check_precision(name: str) -> Precision:
    """`name`, once it is known to be a precision.

    Raises:
        UnknownNameError: it is none; the message names the nearest.
    """
    if name not in get_args(Precision):
        raise UnknownNameError("precision", name, get_args(Precision))
    return cast("Precision", name)


def encode(flat: Array, precision: Precision) -> tuple[Array, Array]:
    """Codes `[n]` of the precision's dtype, and scales float32 `[blocks]`, none but for int8.

    Args:
        flat: float32 `[n]`. A block of int8 with an entry that is not finite decodes to NaN throughout; float16 clips
            what is beyond its range.
        precision: of the codes.
    """
    none = np.empty(0, np.float32)
    if precision == "float32":
        return flat.astype(np.float32, copy=False), none
    if precision == "float16":
        return np.clip(flat, -65504, 65504).astype(np.float16), none
    blocks = _blocks(flat)
    scales = (np.abs(blocks).max(1, initial=0) / np.float32(127)).astype(np.float32)
    usable = np.where(np.isfinite(scales) & (scales > 0), scales, np.float32(1))
    codes = np.rint(np.where(np.isfinite(blocks), blocks, 0) / usable[:, None]).clip(-127, 127).astype(np.int8)
    return codes.reshape(-1)[: len(flat)], np.where(np.isfinite(scales), scales, np.float32(np.nan))


def decode(codes: Array, scales: Array) -> Array:
    """What `encode` was given, as nearly as it can be had: float32 `[n]`.

    Raises:
        DataError: codes of another dtype, or scales of another number.
    """
    expected = -(-len(codes) // BLOCK) if codes.dtype == np.int8 else 0
    if codes.dtype not in (np.int8, np.float16, np.float32) or scales.shape != (expected,):
        raise DataError(
            f"codes are {codes.dtype}{list(codes.shape)} and scales {list(scales.shape)}: expected float32, float16, "
            f"or int8 with one scale for every {BLOCK} codes"
        )
    if codes.dtype != np.int8:
        return codes.astype(np.float32)
    values: Array = _blocks(codes.astype(np.float32)) * scales[:, None]
    return values.reshape(-1)[: len(codes)]


def _blocks(flat: Array) -> Array:
    padded: Array = np.pad(flat, (0, -len(flat) % BLOCK)).reshape(-1, BLOCK)
    return padded
