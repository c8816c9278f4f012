"""The kind of problem and the layout of a model's inputs and targets, and the check that rows have it."""

from __future__ import annotations

import reprlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias, get_args

import numpy as np
from numpy.typing import ArrayLike

from tegu.core.data.arrays import as_array
from tegu.core.data.batch import Array
from tegu.core.data.field import DType, Field, check_field, check_values, sorted_ids
from tegu.core.data.named_inputs import Inputs, check_inputs, pack, packed_field
from tegu.core.errors import DataError

__all__ = ["DType", "Field", "Kind", "RawInputs", "Shape", "Spec", "check_rows", "check_x", "check_y", "packed"]

Kind: TypeAlias = Literal["classification", "multilabel", "regression", "ranking"]
Shape: TypeAlias = tuple[int, ...] | Mapping[str, Field]
RawInputs: TypeAlias = ArrayLike | Mapping[str, ArrayLike] | tuple[ArrayLike, ...]


@dataclass(frozen=True)
class Spec:
    """The kind of problem and the layout of its rows. Build one with a method of that name.

    Attributes:
        kind: what is predicted.
        x: one input row.
        y: one target row.
        outputs: length of an output row: number of classes, labels or targets, or 1 for ranking.
        inputs: names and layouts of several inputs, which a row of `x` packs one after the other, flattened; `()` if
            the module has one input, `x`.
    """

    kind: Kind
    x: Field
    y: Field
    outputs: int
    inputs: Inputs = ()

    def __post_init__(self) -> None:
        if self.kind not in get_args(Kind):
            raise DataError(f"kind is {self.kind!r}: expected one of {', '.join(get_args(Kind))}")
        for name, field in (("x", self.x), ("y", self.y)):
            check_field(name, field)
            if field.dtype == "bool":
                raise DataError(f"{name} has dtype bool: expected float32 or int64; only named inputs may be booleans")
        if self.inputs:
            check_inputs(self.inputs)
            if self.x != packed_field(self.inputs):
                raise DataError(f"x is {self.x}: expected the packed inputs, {packed_field(self.inputs)}")
        if self.outputs < 1:
            raise DataError(f"{self.kind} has {self.outputs} outputs: expected at least one")
        if self.kind == "ranking" and not self.items:
            raise DataError(f"x is {self.x}: ranking needs item ids, so shape () and a size of at least one")

    @classmethod
    def classification(
        cls, shape: Shape, classes: int, *, tokens: int = 0, ids: Mapping[int, int] | None = None
    ) -> Spec:
        """Labels in `[0, classes)`.

        Args:
            shape: of one input row, such as `(8,)`; or a mapping from names to fields for several inputs, such as
                `{"tokens": ids(5000, 20), "mask": booleans(20)}`.
            classes: number of labels.
            tokens: if given, inputs are int64 ids in `[0, tokens)`.
            ids: positions of a row of numbers that hold ids or categories, each with the number of its values, such as
                `{3: 12}`. The module gets them unscaled, as `x[:, 3]`.
        """
        inputs, x = _layout(shape, tokens, ids)
        return cls("classification", x, Field((), "int64", classes), classes, inputs)

    @classmethod
    def multilabel(cls, shape: Shape, labels: int, *, tokens: int = 0, ids: Mapping[int, int] | None = None) -> Spec:
        """Any number of `labels` per row: a target is a row of 0 and 1, and an output the logit of each label.

        The other arguments are as in `classification`.
        """
        inputs, x = _layout(shape, tokens, ids)
        y = Field((labels,), "float32", 0, tuple((position, 2) for position in range(labels)))
        return cls("multilabel", x, y, labels, inputs)

    @classmethod
    def regression(
        cls, shape: Shape, targets: int = 1, *, items: int = 0, tokens: int = 0, ids: Mapping[int, int] | None = None
    ) -> Spec:
        """`targets` real values per row.

        Args:
            shape: as in `classification`.
            targets: number of values.
            items: if given, an input is one item id in `[0, items)`, as for ratings.
            tokens: as in `classification`.
            ids: as in `classification`.
        """
        inputs, x = _layout((), items, ids) if items else _layout(shape, tokens, ids)
        return cls("regression", x, Field((targets,), "float32"), targets, inputs)

    @classmethod
    def ranking(cls, items: int) -> Spec:
        """An input is an item id in `[0, items)`. Its target is the weight of the feedback.

        A weight is 1 for a click. A larger one, such as a play count, counts as 1 + ln(weight); see
        `tegu.core.data.confidence`. Weights are not negative.
        """
        return cls("ranking", Field((), "int64", items), Field((), "float32"), 1)

    def to_dict(self) -> dict[str, Any]:
        """The spec as JSON-compatible values."""
        x = self.x._replace(ids=()) if self.inputs else self.x  # the inputs tell where the ids are
        body = {"kind": self.kind, "x": _body(x), "y": _body(self.y), "outputs": self.outputs}
        named = {"inputs": [[name, _body(field)] for name, field in self.inputs]} if self.inputs else {}
        return body | named

    @classmethod
    def from_dict(cls, body: Mapping[str, Any]) -> Spec:
        """The spec described by the result of `to_dict`.

        Raises:
            DataError: an entry is absent, of the wrong type, or not valid in a spec.
        """
        try:
            inputs = tuple((name, _field(each)) for name, each in body.get("inputs", ()))
            x = _field(body["x"])
            x = x._replace(ids=packed_field(inputs).ids) if inputs else x
            return cls(body["kind"], x, _field(body["y"]), _integer(body["outputs"]), inputs)
        except (KeyError, TypeError, ValueError) as error:
            raise DataError(
                f"{reprlib.repr(body)} describes no spec ({type(error).__name__}: {error}): expected a to_dict result"
            ) from error

    @property
    def items(self) -> int:
        """The size of the catalogue; 0 where inputs are not item ids."""
        return self.x.size if not self.x.shape else 0


def _layout(shape: Shape, size: int, ids: Mapping[int, int] | None) -> tuple[Inputs, Field]:
    """The named inputs, and the layout of a row of `x`."""
    if isinstance(shape, Mapping):
        if size or ids:
            raise DataError("several inputs have names, and tokens, items or ids is given: say ids(size, *shape) there")
        inputs = tuple(shape.items())
        check_inputs(inputs)
        return inputs, packed_field(inputs)
    if size and ids:
        raise DataError("every number of x is an id, and ids names some: give tokens, items or ids, but one of them")
    return (), Field(tuple(shape), "int64", size) if size else Field(tuple(shape), "float32", 0, sorted_ids(ids))


def _body(field: Field) -> dict[str, Any]:
    body = field._asdict()
    return body if field.ids else {name: value for name, value in body.items() if name != "ids"}


def _field(body: Mapping[str, Any]) -> Field:
    if not isinstance(body["shape"], list | tuple):
        raise TypeError(f"expected a list of sizes, found {reprlib.repr(body['shape'])}")
    ids = tuple((_integer(position), _integer(size)) for position, size in body.get("ids", ()))
    return Field(tuple(map(_integer, body["shape"])), body["dtype"], _integer(body["size"]), ids)


def _integer(value: object) -> int:
    if isinstance(value, bool) or not isinstance(value, int):
        raise TypeError(f"expected an integer, found {reprlib.repr(value)}")
    return value


def packed(spec: Spec, x: RawInputs) -> Array:
    """`x` as one array: several inputs, given as a mapping or a tuple, are checked and packed.

    Args:
        spec: of the model.
        x: rows; or for a spec with named inputs a mapping from their names to arrays, or a tuple of arrays in the
            spec's order. A single row may omit the axis of rows, in all inputs.

    Raises:
        DataError: an input is absent, unknown or does not fit.
    """
    if spec.inputs and isinstance(x, Mapping | tuple):
        return pack(spec.inputs, x)
    if isinstance(x, Mapping):
        raise DataError(f"x has the inputs {', '.join(map(str, x))}: this model has one input, an array")
    return as_array("x", x)


def check_x(spec: Spec, x: RawInputs) -> Array:
    """Checked inputs, `[rows, *spec.x.shape]` of `spec.x.dtype`; for `x` as in `packed`.

    Raises:
        DataError: wrong shape or dtype, NaN, infinite, or an id out of range.
    """
    return check_values("x", spec.x, packed(spec, x))


def check_y(spec: Spec, y: ArrayLike) -> Array:
    """Checked targets, `[rows, *spec.y.shape]` of `spec.y.dtype`.

    For one value per row, `y` may be `[rows]` or `[rows, 1]`.

    Raises:
        DataError: as `check_x`.
    """
    array = as_array("y", y)
    if spec.y.shape in ((), (1,)) and array.shape[1:] in ((), (1,)) and array.ndim:
        array = array.reshape(len(array), *spec.y.shape)
    if spec.y.dtype == "int64" and array.dtype.kind == "f" and (array == np.floor(array)).all():
        array = array.astype(np.int64)  # labels such as 0.0 and 1.0
    targets = check_values("y", spec.y, array)
    if spec.kind == "ranking" and targets.min(initial=0) < 0:
        raise DataError(
            f"y holds the weight {targets.min()}: a ranking expects weights of 0 or more; leave rejected items out, or "
            "take a regression of ratings, Spec.regression((), items=...)"
        )
    return targets


def check_rows(spec: Spec, x: RawInputs, y: ArrayLike) -> tuple[Array, Array]:
    """Checked inputs and targets with equal numbers of rows.

    Raises:
        DataError: as `check_x`, or when the numbers of rows differ.
    """
    inputs, targets = check_x(spec, x), check_y(spec, y)
    if len(inputs) != len(targets):
        raise DataError(f"x has {len(inputs)} rows and y has {len(targets)}: expected equal numbers")
    return inputs, targets
