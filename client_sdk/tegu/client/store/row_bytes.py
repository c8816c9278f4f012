"""Rows as bytes: little-endian, in the layout of their field."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from tegu.core.data.batch import Array
from tegu.core.data.spec import Field
from tegu.core.errors import DataError

__all__ = ["rows_from_bytes", "rows_to_bytes"]


def rows_to_bytes(rows: Array, field: Field) -> Iterator[bytes]:
    """Each row of `[rows, *field.shape]` as bytes."""
    return (row.tobytes() for row in rows.astype(_stored(field), copy=False))


def rows_from_bytes(blobs: Sequence[bytes], field: Field) -> Array:
    """Rows `[rows, *field.shape]` from their bytes.

    Raises:
        DataError: a row of another length than the field's.
        TypeError: something that is not bytes.
    """
    dtype = _stored(field)
    size = dtype.itemsize * int(np.prod(field.shape))
    wrong = next((len(blob) for blob in blobs if len(blob) != size), None)
    if wrong is not None:
        raise DataError(f"a row has {wrong} bytes: expected {size}")
    rows = np.frombuffer(bytearray().join(blobs), dtype).reshape(len(blobs), *field.shape)
    return rows.astype(field.dtype, copy=False)


def _stored(field: Field) -> np.dtype[np.generic]:
    return np.dtype(field.dtype).newbyteorder("<")
