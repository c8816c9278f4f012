"""Several inputs with names, packed into one row of numbers, since batches, stores and graphs hold one array `x`.

A row of `x` holds the inputs one after the other, each flattened. Ids and booleans are exact in float32 because they
are below 2**24. `Field.ids` of the packed row says where they are.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, TypeAlias

import numpy as np

from tegu.core.data.arrays import as_array
from tegu.core.data.batch import Array
from tegu.core.data.field import Field, check_field, check_values, positions_in
from tegu.core.errors import DataError

__all__ = ["Inputs", "check_inputs", "pack", "packed_field", "slices"]

Inputs: TypeAlias = tuple[tuple[str, Field], ...]


def check_inputs(inputs: Inputs) -> None:
    """Check the named inputs of a spec.

    Raises:
        DataError: there are none, a name is given twice or no word, or a field cannot be packed.
    """
    names = [name for name, _ in inputs]
    if not names or len(set(names)) < len(names) or not all(names):
        raise DataError(f"the inputs have the names {names}: expected at least one, all different words")
    for name, field in inputs:
        check_field(f"the input {name}", field)
        if field.dtype == "int64" and not field.size:
            raise DataError(f"the input {name} holds ids without a size: say ids(size, *shape)")
    check_field("the packed row", packed_field(inputs))


def packed_field(inputs: Inputs) -> Field:
    """The layout of a packed row: float32 with one axis, and the ids of all inputs."""
    found: list[tuple[int, int]] = []
    start = 0
    for _, field in inputs:
        size = 2 if field.dtype == "bool" else field.size
        if field.dtype == "float32":
            found += [(start + position, each) for position, each in field.ids]
        else:
            found += [(start + position, size) for position in range(positions_in(field))]
        start += positions_in(field)
    return Field((start,), "float32", 0, tuple(found))


def slices(inputs: Inputs) -> dict[str, slice]:
    """Where each input lies in a packed row."""
    ends = np.cumsum([positions_in(field) for _, field in inputs]).tolist()
    return {name: slice(end - positions_in(field), end) for (name, field), end in zip(inputs, ends, strict=True)}


def pack(inputs: Inputs, given: Mapping[str, Any] | Sequence[Any]) -> Array:
    """Checked and packed rows, float32 `[rows, positions]`; `[positions]` if every input leaves out the axis of rows.

    Args:
        inputs: names and layouts.
        given: an array for each name, `[rows, *shape]`; or a tuple of arrays in the order of `inputs`.

    Raises:
        DataError: an input is absent, unknown or does not fit its field, or numbers of rows differ.
    """
    arrays = {name: as_array(name, value) for name, value in _by_name(inputs, given).items()}
    one = all(arrays[name].shape == field.shape for name, field in inputs)
    checked = {name: check_values(name, field, arrays[name][None] if one else arrays[name]) for name, field in inputs}
    rows = {name: len(array) for name, array in checked.items()}
    if len(set(rows.values())) > 1:
        raise DataError(f"the inputs have {rows} rows: expected equal numbers")
    parts = [array.reshape(len(array), -1).astype(np.float32) for array in checked.values()]
    packed = np.concatenate(parts, axis=1)
    return packed[0] if one else packed


def _by_name(inputs: Inputs, given: Mapping[str, Any] | Sequence[Any]) -> dict[str, Any]:
    names = [name for name, _ in inputs]
    if not isinstance(given, Mapping):
        if len(given) != len(names):
            raise DataError(f"x has {len(given)} inputs: expected {len(names)}, in the order {', '.join(names)}")
        return dict(zip(names, given, strict=True))
    if set(given) != set(names):
        raise DataError(f"x has the inputs {', '.join(map(str, given))}: expected {', '.join(names)}")
    return {name: given[name] for name in names}
