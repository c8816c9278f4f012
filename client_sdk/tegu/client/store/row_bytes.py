"""Rows as bytes: little-endian, with the shape and dtype of their field."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from tegu.core.data.batch import Array
from tegu.core.data.spec import Field
from tegu.core.errors import DataError

__all__ = ["rows_from_bytes", "rows_to_bytes"]


def rows_to_bytes(rows: Array, field: Field) -> Iterator[bytes]:
    """Each row of `[rows, *field.shape]` as bytes."""
    return (row.tobytes() for row in rows.astype(_stored_dtype(field), copy=False))


def rows_from_bytes(blobs: Sequence[bytes], field: Field) -> Array:
    """Rows `[rows, *field.shape]` from their bytes.

    Raises:
        DataError: a row has the wrong number of bytes.
        TypeError: an element is not bytes.
    """
    dtype = _stored_dtype(field)
    size = dtype.itemsize * int(np.prod(field.shape))
    wrong_size = next((len(blob) for blob in blobs if len(blob) != size), None)
    if wrong_size is not None:
        raise DataError(f"a row has {wrong_size} bytes: expected {size}")
    rows = np.frombuffer(bytearray().join(blobs), dtype).reshape(len(blobs), *field.shape)
    return rows.astype(field.dtype, copy=False)


def _stored_dtype(field: Field) -> np.dtype[np.generic]:
    return np.dtype(field.dtype).newbyteorder("<")
