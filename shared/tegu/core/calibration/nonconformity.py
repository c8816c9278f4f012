"""How badly predictions fit a user's rows, by the usual loss of each kind of problem. In numpy, for devices too."""

from __future__ import annotations

import numpy as np

from tegu.core.data.batch import Array
from tegu.core.data.confidence import confidence
from tegu.core.data.spec import Spec

__all__ = ["inputs_to_score", "nonconformity"]


def inputs_to_score(spec: Spec, x: Array) -> Array:
    """The inputs to predict for before scoring rows with inputs `x`: the whole catalogue for ranking, else `x`."""
    return np.arange(spec.items) if spec.kind == "ranking" else x


def nonconformity(spec: Spec, outputs: Array, x: Array, y: Array) -> float:
    """The mean loss of rows: cross-entropy, squared error, or for ranking the weighted softmax loss of the items.

    Several labels or targets are averaged.

    Args:
        spec: of the model.
        outputs: predictions for `inputs_to_score(spec, x)`: `[rows, outputs]`, or scores `[items]` for ranking.
        x: `[rows, ...]`.
        y: `[rows, ...]`.
    """
    outputs = outputs.astype(np.float64)
    if spec.kind == "regression":
        return float(np.square(outputs - y).mean())
    if spec.kind == "multilabel":
        return float((np.logaddexp(0, outputs) - outputs * y).mean())
    logs = outputs - np.logaddexp.reduce(outputs, -1, keepdims=True)
    rows = logs[x] * confidence(y) if spec.kind == "ranking" else np.take_along_axis(logs, y[:, None], 1)
    return float(-rows.mean())
