"""The parameters of a bundle in fewer bytes, and their restoration to float32.

An array keeps its name and shape and becomes float16, or int8 with its scales in `<name>/scales`. The dtype alone tells
a reader what to restore. Integers and float64 are stored unchanged.
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
    """The contents of `meta.safetensors`.

    Args:
        meta: parameters that the server learned; float32 arrays of any shape are packed.
        precision: of the packed arrays.

    Raises:
        BundleError: the dtype or name of a parameter is reserved for packed ones.
        DataError: the precision cannot represent a value: NaN, an infinity, or beyond float16's +-65504.
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
        codes, scales = _encode_array(name, array, precision)
        packed[name] = codes
        if precision == "int8":
            if _scales_name(name) in meta:
                raise BundleError(
                    f"the parameter name {_scales_name(name)!r} is reserved for the scales of {name!r}: rename it"
                )
            packed[_scales_name(name)] = scales
    return packed


def unpack_parameters(stored: Tree) -> Tree:
    """`meta` as a device uses it: float16 and int8 arrays become float32.

    Raises:
        BundleError: scales are absent, negative or not finite, or have the wrong length or dtype.
    """
    scales = {_scales_name(name) for name, array in stored.items() if array.dtype == np.int8}
    return {name: _decode_array(name, array, stored) for name, array in stored.items() if name not in scales}


def _encode_array(name: str, array: Array, precision: Precision) -> tuple[Array, Array]:
    flat = array.reshape(-1)
    if not np.isfinite(flat).all():
        raise DataError(
            f"parameter {name!r} holds {flat[~np.isfinite(flat)][0]}, which {precision} cannot store: "
            "train again with a lower learning rate"
        )
    codes, scales = encode(flat, precision)
    if not np.isfinite(codes).all():
        raise DataError(
            f"parameter {name!r} holds {np.abs(flat).max():g}, beyond the 65504 of float16: store it as int8 or float32"
        )
    return codes.reshape(array.shape), scales


def _decode_array(name: str, array: Array, stored: Tree) -> Array:
    if array.dtype not in _CODES:
        return array
    scales = _checked_scales(name, stored) if array.dtype == np.int8 else np.zeros(0, np.float32)
    try:
        return decode(array.reshape(-1), scales).reshape(array.shape)
    except DataError as error:
        raise BundleError(f"the scales of parameter {name!r} do not fit ({error}): fetch the bundle again") from error


def _checked_scales(name: str, stored: Tree) -> Array:
    if _scales_name(name) not in stored:
        raise BundleError(f"parameter {name!r} is int8, but {_scales_name(name)!r} is absent: fetch the bundle again")
    scales = stored[_scales_name(name)]
    valid = np.isfinite(scales) & (scales >= 0)
    if not valid.all():
        raise BundleError(
            f"{_scales_name(name)!r} holds {scales[~valid][0]}: expected finite scales of at least 0; "
            "fetch the bundle again"
        )
    return scales


def _scales_name(name: str) -> str:
    return f"{name}/scales"
