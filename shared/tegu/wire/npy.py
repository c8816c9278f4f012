"""Arrays as bytes in numpy's file format, which Flower expects. Headers are cached by dtype and shape.

A round sends every parameter several times. For small arrays, numpy's own functions spend ten times as long on the
header as on the numbers.
"""

from __future__ import annotations

import functools
import io
import math

import numpy as np

from tegu.core.data.batch import Array

__all__ = ["dtype_name", "from_npy", "to_npy"]

_PREFIX = 10  # magic, version, and the header's length


def to_npy(array: Array) -> bytes:
    """An array as `numpy.save` writes it."""
    contiguous = np.ascontiguousarray(array)
    return _header(array.dtype, array.shape) + contiguous.tobytes()


def from_npy(data: bytes) -> Array:
    """The array in the bytes made by `to_npy`, as a copy.

    Raises:
        ValueError: the bytes are not in this format, or too few or too many.
    """
    begin = _PREFIX + int.from_bytes(data[8:_PREFIX], "little")
    dtype, shape = _layout(data[:begin])
    if len(data) - begin != math.prod(shape) * dtype.itemsize:
        raise ValueError(f"{len(data) - begin} bytes do not fit an array of {dtype}{list(shape)}")
    return np.frombuffer(data, dtype, offset=begin).reshape(shape).copy()


@functools.lru_cache(64)
def dtype_name(dtype: np.dtype[np.generic]) -> str:
    """A dtype's name, as Flower stores it. Cached, because numpy formats it on each call."""
    return str(dtype)


@functools.lru_cache(4096)
def _header(dtype: np.dtype[np.generic], shape: tuple[int, ...]) -> bytes:
    buffer = io.BytesIO()
    description = np.lib.format.dtype_to_descr(dtype)
    np.lib.format.write_array_header_1_0(buffer, {"descr": description, "fortran_order": False, "shape": shape})
    return buffer.getvalue()


@functools.lru_cache(4096)
def _layout(header: bytes) -> tuple[np.dtype[np.generic], tuple[int, ...]]:
    buffer = io.BytesIO(header)
    if np.lib.format.read_magic(buffer) != (1, 0):
        raise ValueError("the header is not of version 1.0 of numpy's format")
    shape, fortran, dtype = np.lib.format.read_array_header_1_0(buffer)
    if fortran or dtype.hasobject:
        raise ValueError(f"an array of {dtype}{' in Fortran order' if fortran else ''} is not supported")
    return dtype, shape
