"""The layout of a model's inputs and targets, and the check that rows have it."""

from __future__ import annotations

import reprlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple, TypeAlias, get_args

import numpy as np
from numpy.typing import ArrayLike

from tegu.core.data.batch import Array
from tegu.core.errors import DataError

__all__ = ["DType", "Field", "Kind", "Spec", "check_rows", "check_x", "check_y"]

Kind: TypeAlias = Literal["classification", "regression", "ranking"]
DType: TypeAlias = Literal["float32", "int64"]


class Field(NamedTuple):
    """One row of an input or a target.

    Attributes:
        shape: without the leading axis of rows; `()` is one scalar per row.
        dtype: `"float32"`, or `"int64"` for ids and labels.
        size: ids and labels lie in `[0, size)`; 0 means unbounded.
    """

    shape: tuple[int, ...]
    dtype: DType
    size: int = 0


@dataclass(frozen=True)
class Spec:
    """The kind of problem and the layout of its rows. Build one with `classification`, `regression` or `ranking`.

    Attributes:
        kind: what is predicted.
        x: one input row.
        y: one target row.
        outputs: length of an output row: number of classes, number of targets, or 1 for ranking.
    """

    kind: Kind
    x: Field
    y: Field
    outputs: int

    def __post_init__(self) -> None:
        if self.kind not in get_args(Kind):
            raise DataError(f"kind is {self.kind!r}: expected one of {', '.join(get_args(Kind))}")
        for name, field in (("x", self.x), ("y", self.y)):
            if field.dtype not in get_args(DType):
                raise DataError(f"{name} has dtype {field.dtype!r}: expected float32 or int64")
            if any(size < 1 for size in field.shape) or field.size < 0:
                raise DataError(f"{name} has shape {field.shape} and size {field.size}: expected positive numbers")
        if self.outputs < 1:
            raise DataError(f"{self.kind} has {self.outputs} outputs: expected at least one")
        if self.kind == "ranking" and not self.items:
            raise DataError(f"x is {self.x}: ranking needs item ids, so shape () and a size of at least one")

    @classmethod
    def classification(cls, shape: tuple[int, ...], classes: int, *, tokens: int = 0) -> Spec:
        """Labels in `[0, classes)`; inputs of `shape`, int64 ids in `[0, tokens)` where `tokens` is given."""
        x = Field(tuple(shape), "int64", tokens) if tokens else Field(tuple(shape), "float32")
        return cls("classification", x, Field((), "int64", classes), classes)

    @classmethod
    def regression(cls, shape: tuple[int, ...], targets: int = 1, *, items: int = 0) -> Spec:
        """`targets` real values per row. Where `items` is given, an input is one item id, as for ratings."""
        x = Field((), "int64", items) if items else Field(tuple(shape), "float32")
        return cls("regression", x, Field((targets,), "float32"), targets)

    @classmethod
    def ranking(cls, items: int) -> Spec:
        """An input is an item id in `[0, items)`. Its target is the weight of the feedback, 1 for a click."""
        return cls("ranking", Field((), "int64", items), Field((), "float32"), 1)

    def to_dict(self) -> dict[str, Any]:
        """The spec as JSON-compatible values."""
        return {"kind": self.kind, "x": self.x._asdict(), "y": self.y._asdict(), "outputs": self.outputs}

    @classmethod
    def from_dict(cls, body: Mapping[str, Any]) -> Spec:
        """The spec described by the result of `to_dict`.

        Raises:
            DataError: an entry is absent, of the wrong type, or not valid in a spec.
        """
        try:
            return cls(body["kind"], _field(body["x"]), _field(body["y"]), _integer(body["outputs"]))
        except (KeyError, TypeError) as error:
            raise DataError(
                f"{reprlib.repr(body)} describes no spec ({type(error).__name__}: {error}): expected a to_dict result"
            ) from error

    @property
    def items(self) -> int:
        """The size of the catalogue; 0 where inputs are not item ids."""
        return self.x.size if not self.x.shape else 0


def _field(body: Mapping[str, Any]) -> Field:
    if not isinstance(body["shape"], list | tuple):
        raise TypeError(f"expected a list of sizes, found {reprlib.repr(body['shape'])}")
    return Field(tuple(map(_integer, body["shape"])), body["dtype"], _integer(body["size"]))


def _integer(value: object) -> int:
    if isinstance(value, bool) or not isinstance(value, int):
        raise TypeError(f"expected an integer, found {reprlib.repr(value)}")
    return value


def _array(name: str, value: ArrayLike) -> Array:
    try:
        return np.asarray(value)
    except ValueError as error:  # rows of different lengths
        raise DataError(f"{name} is not an array ({error}): give every row the same shape") from error


def _check(name: str, field: Field, value: ArrayLike) -> Array:
    array = _array(name, value)
    if array.dtype.kind not in "biuf":
        raise DataError(f"{name} has dtype {array.dtype}: expected numbers that fit {field.dtype}")
    if array.ndim != 1 + len(field.shape) or array.shape[1:] != field.shape:
        expected = ", ".join(map(str, ("rows", *field.shape)))
        raise DataError(f"{name} has shape {array.shape}: expected ({expected})")
    if field.dtype == "int64" and array.dtype.kind == "f":
        raise DataError(f"{name} has dtype {array.dtype}: expected integers (int64)")
    if array.dtype.kind == "f" and not np.isfinite(array).all():
        row = int(np.argwhere(~np.isfinite(array))[0][0])
        raise DataError(f"{name} is NaN or infinite in row {row}: expected finite numbers; drop or impute that row")
    if field.size and array.size and (array.min() < 0 or array.max() >= field.size):
        worst = int(array.min()) if array.min() < 0 else int(array.max())
        raise DataError(f"{name} holds the id {worst}: expected ids from 0 to {field.size - 1}")
    with np.errstate(over="ignore"):
        converted = np.ascontiguousarray(array, dtype=field.dtype)
    if field.dtype == "float32" and not np.isfinite(converted).all():
        worst = array.flat[np.abs(array).argmax()]
        raise DataError(f"{name} holds {worst}, beyond float32's range: rescale it")
    return converted


def check_x(spec: Spec, x: ArrayLike) -> Array:
    """Checked inputs, `[rows, *spec.x.shape]` of `spec.x.dtype`.

    Raises:
        DataError: wrong shape or dtype, NaN, infinite, or an id out of range.
    """
    return _check("x", spec.x, x)


def check_y(spec: Spec, y: ArrayLike) -> Array:
    """Checked targets, `[rows, *spec.y.shape]` of `spec.y.dtype`. For one value per row the last axis may be left out.

    Raises:
        DataError: as `check_x`.
    """
    array = _array("y", y)
    if spec.y.shape == (1,) and array.ndim == 1:
        array = array[:, None]
    return _check("y", spec.y, array)


def check_rows(spec: Spec, x: ArrayLike, y: ArrayLike) -> tuple[Array, Array]:
    """Checked inputs and targets with equal numbers of rows.

    Raises:
        DataError: as `check_x`, or when the numbers of rows differ.
    """
    inputs, targets = check_x(spec, x), check_y(spec, y)
    if len(inputs) != len(targets):
        raise DataError(f"x has {len(inputs)} rows and y has {len(targets)}: expected equal numbers")
    return inputs, targets
