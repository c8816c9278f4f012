"""Arrays that come without a spec, as rows of one. Guesses are cautious, and each is printed as a note."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from tegu.core.data.arrays import as_array
from tegu.core.data.batch import Array
from tegu.core.data.spec import Kind, RawInputs, Spec
from tegu.core.encoding.encoding import Encoding
from tegu.core.encoding.labels import encode_items, encode_labels
from tegu.core.encoding.words import Word, shown
from tegu.core.errors import DataError
from tegu.core.notes import note
from tegu.sim.data.guess_kind import guess_kind
from tegu.sim.data.table import TableRows

__all__ = ["guess_rows"]

_ALIKE = 0.5  # of the largest number in x, reached by most columns: they may be places of one sequence


def guess_rows(x: RawInputs, y: ArrayLike, kind: Kind | None = None) -> TableRows:
    """Rows, the spec that they fit, and the encoding of labels and item ids.

    Real numbers, booleans and uint8 pictures in `x` are numbers. Whole numbers are ids if there is one for each row
    and they are dense from 0 or 1; text is ids too. In tables, whole numbers are numbers unless all columns have a
    similar range. Labels may be text, booleans or any whole numbers. See `guess_kind` for what `y` is.

    Args:
        x: inputs, rows first.
        y: targets, rows first.
        kind: what is predicted; None to guess it from `y`.

    Raises:
        DataError: more than one spec is plausible; the message names both. Or the arrays fit none.
    """
    targets = as_array("y", y)
    targets = targets[:, 0] if targets.shape[1:] == (1,) else targets
    kind = guess_kind("y", targets) if kind is None else kind
    if isinstance(x, Mapping):
        raise DataError(
            f"x has several inputs: pass spec=Spec.{kind}({{{_fields(x)}}}, ...), which says what each of them holds"
        )
    inputs, labels, items = as_array("x", x), tuple[Word, ...](), tuple[Word, ...]()
    if kind == "classification":
        targets, labels = _classes(targets)
    if kind == "ranking" or (inputs.ndim == 1 and inputs.dtype.kind in "OUS"):
        inputs, items = _positions(inputs)
    outputs = _outputs(kind, targets, labels)
    size = len(items) or _ids_in(inputs, kind, outputs)
    spec = Spec.ranking(size) if kind == "ranking" else _builder(kind)(inputs.shape[1:], outputs, tokens=size)
    return TableRows(inputs, targets, spec, Encoding(labels=labels, items=items))


def _builder(kind: Kind) -> Any:
    builders = {"classification": Spec.classification, "multilabel": Spec.multilabel, "regression": Spec.regression}
    return builders[kind]


def _outputs(kind: Kind, targets: Array, labels: tuple[Word, ...]) -> int:
    if kind == "classification":
        return len(labels) or int(targets.max(initial=0)) + 1
    return targets.shape[1] if targets.ndim > 1 else 1


def _classes(y: Array) -> tuple[Array, tuple[Word, ...]]:
    """Classes and their labels; no labels where `y` are classes from 0."""
    if y.ndim != 1:
        raise DataError(f"y has shape {y.shape}: expected one label for each row; take y.argmax(1) of one-hot labels")
    if y.dtype.kind == "b":
        return y.astype(np.int64), ()
    codes, labels = encode_labels(y)
    if labels:
        note(f"y holds {len(labels)} labels ({shown(labels)}): they are classes 0 to {len(labels) - 1} of the model.")
    return codes, labels


def _positions(x: Array) -> tuple[Array, tuple[Word, ...]]:
    """Positions in a catalogue and the ids of its items; no ids where `x` are positions already."""
    if x.dtype.kind not in "iuOUS" or x.ndim != 1:
        raise DataError(f"x has shape {x.shape} and dtype {x.dtype}: expected one item id for each row")
    codes, items = encode_items(x)
    if items:
        note(f"x holds the ids of {len(items)} items ({shown(items)}): they are positions 0 to {len(items) - 1}.")
    return codes, items


def _fields(x: Mapping[str, Any]) -> str:
    """The likely fields of named inputs, as code."""
    return ", ".join(f"'{name}': {_field_code(as_array(name, value))}" for name, value in x.items())


def _field_code(array: Array) -> str:
    shape = [str(size) for size in array.shape[1:]]
    if array.dtype.kind == "b":
        return f"booleans({', '.join(shape)})"
    if array.dtype.kind in "iu" and array.dtype != np.uint8 and array.min(initial=0) >= 0:
        return f"ids({', '.join([str(int(array.max(initial=0)) + 1), *shape])})"
    return f"reals({', '.join(shape)})"


def _ids_in(x: Array, kind: Kind, outputs: int) -> int:
    """One more than the highest id if `x` holds ids; 0 if it holds numbers.

    Raises:
        DataError: it may hold either.
    """
    if x.dtype.kind not in "biu" or not x.size:
        return 0
    low, high = int(x.min()), int(x.max())
    if kind == "ranking":
        return high + 1
    as_ids = f"Spec.{kind}({x.shape[1:]}, {outputs}, tokens={high + 1})"
    if x.ndim == 1 and x.dtype.kind != "b" and _are_dense(x):
        note(f"x holds one whole number from 0 to {high} for each row: taken as ids; make x float32 for numbers.")
        return high + 1
    if x.dtype.kind != "b" and low >= 0 and _may_be_ids(x):
        table = "" if x.ndim > 1 else "; Population.from_frame takes a column of ids with gaps, and keeps them"
        raise DataError(
            f"x holds whole numbers from {low} to {high} of shape {x.shape[1:]} for each row, which may be numbers or "
            f"ids: pass x.astype(np.float32) if they are numbers, or spec={as_ids} if they are ids{table}"
        )
    note(f"x has dtype {x.dtype} and is taken as numbers; pass spec={as_ids} if it holds ids.")
    return 0


def _are_dense(x: Array) -> bool:
    """Whether whole numbers begin at 0 or 1 and at least half of those up to the highest occur."""
    return bool(0 <= x.min() <= 1 and int(x.max()) < 2 * len(np.unique(x)))


def _may_be_ids(x: Array) -> bool:
    """Whether whole numbers from 0 may be ids: of the places of a sequence, rather than of a table or a picture."""
    if x.ndim == 1:
        return True
    if x.ndim > 2 or x.dtype == np.uint8 or x.max() <= 1:
        return False
    if x.shape[1] == 1:
        return _are_dense(x)
    highest = x.max()
    return bool(np.median(x.max(0)) >= _ALIKE * highest and (x.min(0) <= (1 - _ALIKE) * highest).all())
