"""Raw columns to float32 rows, and back."""

from __future__ import annotations

import numpy as np

from tegu.core.data.batch import Array
from tegu.core.encoding.column import Column
from tegu.core.encoding.values import ValueKind, Values, raw_cells, read_cells
from tegu.core.encoding.words import codes_of, lookup
from tegu.core.errors import DataError

__all__ = ["decode_column", "encode_column", "scaled"]

_EXACT = 2.0**53  # below this, float64 represents every integer exactly


def encode_column(column: Column, raw: object) -> Array:
    """The numbers of one column, float32 `[rows, len(column.names)]`.

    Args:
        column: how to encode.
        raw: `[rows]` cells; see `tegu.core.encoding.values`.

    Raises:
        DataError: a cell is not of the column's kind, or is a gap although the training data had none.
    """
    kind: ValueKind = "word" if column.levels else column.kind  # type: ignore[assignment] # only these two have levels
    values = read_cells(column.name, raw_cells(column.name, raw), kind)
    if column.gap is None and values.missing.any():
        row = int(np.flatnonzero(values.missing)[0])
        raise DataError(
            f"column {column.name} is empty in row {row}: the training data had no gaps in it; give a value there"
        )
    return _encode_words(column, values) if column.levels else _encode_numbers(column, values)


def _encode_words(column: Column, values: Values) -> Array:
    codes = np.where(values.missing, len(column.levels), codes_of(lookup(column.levels), values.array))
    if column.kind == "id":
        return (codes + 1).astype(np.float32)[:, None]
    return np.asarray(codes[:, None] == np.arange(len(column.names)), np.float32)


def _encode_numbers(column: Column, values: Values) -> Array:
    numbers = scaled(values.array, column.origin, column.unit)
    if column.gap is None:
        return numbers[:, None]
    return np.stack([np.where(values.missing, np.float32(column.gap), numbers), values.missing], 1, dtype=np.float32)


def scaled(values: Array, origin: int | float, unit: int | float) -> Array:
    """`(values - origin) / unit` as float32 `[rows]`. Integers are subtracted exactly, also beyond float64's 2**53."""
    rough = values.astype(np.float64) - float(origin)
    if values.dtype.kind in "iu" and isinstance(origin, int):
        exact = (values.astype(np.uint64) - np.uint64(origin % 2**64)).view(np.int64)  # modulo 2**64: right where small
        rough = np.where(np.abs(rough) < _EXACT, exact, rough)
    with np.errstate(over="ignore"):
        found = np.asarray(rough / unit, np.float32)
    if not np.isfinite(found).all():
        raise DataError(f"a column holds {values[~np.isfinite(found)][0]}, beyond float32's range: rescale it")
    return found


def decode_column(column: Column, encoded: Array) -> Array:
    """The values that numbers of one column stand for, in the column's own units.

    Args:
        column: a number, boolean or date.
        encoded: `[rows]`.

    Returns:
        float64; int64, rounded, where all training values were whole; datetime64 in microseconds for dates; or bool.
    """
    if column.kind == "boolean":
        return np.asarray(encoded) > 0.5
    own = np.asarray(encoded, np.float64) * column.unit
    if column.kind == "date":
        return (np.rint(own).astype(np.int64) + int(column.origin)).astype("datetime64[us]")
    return np.rint(own).astype(np.int64) + int(column.origin) if column.whole else own + column.origin
