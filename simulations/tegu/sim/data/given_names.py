"""Names of features and titles of items that a developer gives beside arrays."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from tegu.core.data.batch import Array
from tegu.core.data.spec import Spec
from tegu.core.encoding.column import Column
from tegu.core.encoding.encoding import Encoding
from tegu.core.encoding.tables import table_columns
from tegu.core.encoding.values import raw_cells
from tegu.core.errors import DataError
from tegu.sim.data.table_inputs import item_titles

__all__ = ["frame_names", "with_names"]


def frame_names(x: object) -> list[str] | None:
    """The names of the columns where `x` is a data frame.

    Raises:
        DataError: some columns hold no numbers.
    """
    if isinstance(x, Mapping | np.ndarray | list | tuple):
        return None
    columns = table_columns(x)
    if columns is None:
        return None
    words = [name for name, raw in columns.items() if raw_cells(name, raw).dtype.kind not in "biuf"]
    if words:
        raise DataError(f"the columns {words} of x hold no numbers: use Population.from_frame, which encodes them")
    return list(columns)


def with_names(
    encoding: Encoding | None,
    spec: Spec,
    x: Array,
    titles: Mapping[Any, str] | Sequence[str] | None,
    names: Sequence[str] | None,
) -> Encoding | None:
    """The encoding with titles and names; None where it then holds nothing.

    Args:
        encoding: of labels and items, where they are encoded.
        spec: of the rows.
        x: the rows' inputs.
        titles: by item id, or in the order of the catalogue.
        names: one for each number of a row.

    Raises:
        DataError: the rows are no items, or no numbers; or the numbers of titles or names differ.
    """
    found = encoding or Encoding()
    if titles is not None:
        found = replace(found, titles=_titles(found, spec, x, titles))
    if names is not None:
        if spec.x.dtype != "float32" or spec.x.shape != (len(names),) or spec.x.ids or spec.inputs:
            raise DataError(f"there are {len(names)} feature_names for inputs {spec.x}: expected one for each number")
        found = replace(found, columns=tuple(Column(str(name), "number") for name in names))
    return None if found == Encoding() else found


def _titles(
    encoding: Encoding, spec: Spec, x: Array, titles: Mapping[Any, str] | Sequence[str]
) -> tuple[str, ...]:  # fmt: skip
    if not spec.items:
        raise DataError(f"titles are given for inputs {spec.x}: expected item ids")
    ids = encoding.items or range(spec.items)
    if isinstance(titles, Mapping):
        return item_titles(titles, x, ids, {})
    if len(titles) != len(ids):
        raise DataError(f"there are {len(titles)} titles for {len(ids)} items: expected one for each, or a mapping")
    return tuple(map(str, titles))
