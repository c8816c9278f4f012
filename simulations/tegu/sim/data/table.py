"""A data frame as rows of a model, and the encoding that tells a device how they were made."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any, NamedTuple

from tegu.core.data.batch import Array
from tegu.core.data.field import Field
from tegu.core.data.spec import Kind, Spec
from tegu.core.encoding.encoding import Encoding
from tegu.core.encoding.fit import Role
from tegu.core.encoding.tables import table_columns
from tegu.core.errors import DataError
from tegu.sim.data.table_inputs import Names, Titles, encode_inputs, item_titles
from tegu.sim.data.table_targets import encode_targets

__all__ = ["TableRows", "as_list", "read_columns", "table_rows"]


class TableRows(NamedTuple):
    """The inputs and targets of a table, as rows of a model.

    Attributes:
        x: float32 `[rows, numbers]`, or int64 `[rows]`, positions of items.
        y: int64 `[rows]`, classes; float32 `[rows, targets]`; or float32 `[rows]`, weights of a ranking.
        spec: that the rows fit.
        encoding: how they were made.
    """

    x: Array
    y: Array
    spec: Spec
    encoding: Encoding


def as_list(names: Names | None) -> list[str]:
    """One name, several, or none as a list.

    Raises:
        DataError: a name is no text.
    """
    several = isinstance(names, Iterable) and not isinstance(names, str)
    found: list[Any] = [] if names is None else list(names) if several else [names]
    for name in found:
        if not isinstance(name, str):
            raise DataError(
                f"{name!r} is no name of a column: expected text; rename the columns, as by "
                "frame.columns = frame.columns.map(str)"
            )
    return found


def read_columns(frame: object, wanted: Sequence[str]) -> dict[str, Any]:
    """The columns of a table by name.

    Args:
        frame: a data frame of pandas or polars, or another table; see `tegu.core.encoding.tables.table_columns`.
        wanted: names of columns.

    Raises:
        DataError: it is no table, or lacks a column.
    """
    columns = table_columns(frame)
    if columns is None:
        raise DataError(f"the frame is a {type(frame).__name__}: expected a data frame, or a mapping of columns")
    missing = [name for name in wanted if name not in columns]
    if missing:
        raise DataError(f"the frame has no column {missing}: expected names among {list(columns)}")
    return columns


def table_rows(
    columns: Mapping[str, Any],
    features: Names,
    target: Names | None,
    *,
    spec: Spec | None = None,
    kind: Kind | None = None,
    roles: Mapping[str, Role] | None = None,
    titles: Titles | None = None,
) -> TableRows:
    """Inputs and targets from raw columns; a note says what became of each.

    Args:
        columns: raw columns by name.
        features: one column of item ids, or the columns of features. One column that holds no ids (numbers with
            fractions, dates or booleans) counts as a list of one.
        target: column of labels, numbers or weights, or several columns of numbers; None for a ranking's weights of 1.
        spec: that the rows have to fit; None to follow from the columns.
        kind: of the problem; None to follow from the target.
        roles: columns whose values are categories or ids although they are numbers.
        titles: of the items; see `item_titles`.

    Raises:
        DataError: a column cannot be encoded, or does not fit `spec`; the message names it.
    """
    kind = spec.kind if spec is not None else kind
    x, encoding = encode_inputs(columns, features, roles or {}, spec)
    y, labels, targets = encode_targets(columns, target, kind, spec, len(x))
    label = target if isinstance(target, str) and not targets else ""
    encoding = replace(encoding, labels=labels, targets=targets, label=label)
    found = spec or _spec(x, y, encoding, kind)
    if titles is not None:
        if not found.items:
            raise DataError("titles are given, but the features are no item ids: give one column of ids as features")
        ids = encoding.items or range(found.items)
        encoding = replace(encoding, titles=item_titles(titles, x, ids, columns))
    if spec is not None and encoding.ids != spec.x.ids:
        raise DataError(f"the columns give ids at {encoding.ids} and the spec has {spec.x.ids}: leave spec out")
    return TableRows(x, y, found, encoding)


def _spec(x: Array, y: Array, encoding: Encoding, kind: Kind | None) -> Spec:
    items = 0 if x.ndim > 1 else len(encoding.items) or int(x.max(initial=0)) + 1
    if kind == "ranking":
        if not items:
            raise DataError(
                f"the features {', '.join(encoding.features)} are no item ids: a ranking needs one column of whole "
                "numbers or words; give its name alone, and convert ids that pandas holds as real numbers, as by "
                ".astype('int64')"
            )
        return Spec.ranking(items)
    field = Field((), "int64", items) if items else Field(x.shape[1:], "float32")
    if encoding.ids:
        field = field._replace(ids=encoding.ids)
    if y.ndim > 1:
        return Spec("regression", field, Field(y.shape[1:], "float32"), y.shape[1])
    classes = len(encoding.labels) or int(y.max(initial=0)) + 1
    return Spec("classification", field, Field((), "int64", classes), classes)
