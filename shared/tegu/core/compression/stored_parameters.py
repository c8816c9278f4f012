"""How a bundle stores its float32 parameters in fewer bytes, and how a reader gets float32 back.

An array keeps its name and shape and becomes float16, or int8 beside its scales in `<name>/scales`: the dtype alone
tells a reader what to restore. Integers and float64 are stored as they are.
"""

from __future__ import annotations

import numpy as np

from tegu.core.compression.precision import Precision, check_precision, decode, encode
from tegu.core.data.batch import Array
from tegu.core.data.tree import Tree
from tegu.core.errors import BundleError, DataError

__all__ = ["pack_parameters", "unpack_parameters"]

_CODES = (np.dtype(np.float16), np.dtype(np.int8))


def pack_parameters(meta: Tree, precision: Precision) -> Tree:
    """What `meta.safetensors` holds.

    Args:
        meta: what the server learned; its float32 arrays are packed, of any shape.
        precision: of the packed arrays.

    Raises:
        BundleError: a parameter whose dtype or name means a packed one.
        DataError: a value that the precision cannot hold: NaN, an infinity, beyond float16's +-65504.
        UnknownNameError: no such precision.
    """
    precision = check_precision(precision)
    for name, array in meta.items():
        if array.dtype in _CODES:
            raise BundleError(
                f"parameter {name!r} is {array.dtype}, which a reader would restore to float32: make it float32"
            )
    if precision == "float32":
        return meta
    parameters = {name: array for name, array in meta.items() if array.dtype == np.float32}
    packed = {name: array for name, array in meta.items() if name not in parameters}
    for name, array in parameters.items():
        codes, scales = _encoded(name, array, precision)
        packed[name] = codes
        if precision == "int8":
            if _scales(name) in meta:
                raise BundleError(f"{_scales(name)!r} is a parameter, and {name!r} has its scales there: rename it")
            packed[_scales(name)] = scales
    return packed


def unpack_parameters(stored: Tree) -> Tree:
    """`meta` as a device uses it: what is stored as float16 or int8 becomes float32.

    Raises:
        BundleError: int8 without scales, or with scales of another length or dtype, negative or not finite.
    """
    scales = {_scales(name) for name, array in stored.items() if array.dtype == np.int8}
    return {name: _unpacked(name, array, stored) for name, array in stored.items() if name not in scales}


def _encoded(name: str, array: Array, precision: Precision) -> tuple[Array, Array]:
    flat = array.reshape(-1)
    if not np.isfinite(flat).all():
        raise DataError(
            f"parameter {name!r} holds {flat[~np.isfinite(flat)][0]}, which {precision} cannot store: "
            "train again with a lower rate"
        )
    codes, scales = encode(flat, precision)
    if not np.isfinite(codes).all():
        raise DataError(
            f"parameter {name!r} holds {np.abs(flat).max():g}, and float16 ends at 65504: store it as int8 or float32"
        )
    return codes.reshape(array.shape), scales


def _unpacked(name: str, array: Array, stored: Tree) -> Array:
    if array.dtype not in _CODES:
        return array
    scales = _checked_scales(name, stored) if array.dtype == np.int8 else np.zeros(0, np.float32)
    try:
        return decode(array.reshape(-1), scales).reshape(array.shape)
    except DataError as error:
        raise BundleError(f"the scales of parameter {name!r} do not fit ({error}): fetch the bundle again") from error


def _checked_scales(name: str, stored: Tree) -> Array:
    if _scales(name) not in stored:
        raise BundleError(f"parameter {name!r} is int8 and {_scales(name)!r} is absent: fetch the bundle again")
    scales = stored[_scales(name)]
    sound = np.isfinite(scales) & (scales >= 0)
    if not sound.all():
        raise BundleError(
            f"{_scales(name)!r} holds {scales[~sound][0]}: expected finite scales of at least 0; fetch the bundle again"
        )
    return scales


def _scales(name: str) -> str:
    return f"{name}/scales"
