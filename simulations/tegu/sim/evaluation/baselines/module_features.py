"""What a module's features say about the rows of trials: for baselines that fit a head or look up neighbours."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from typing import NamedTuple, TypeAlias

import numpy as np
import torch
from torch import nn

from tegu.core.data.batch import Array
from tegu.core.data.spec import Kind
from tegu.core.data.tree import Tree
from tegu.core.sampling.trials import Trial, Trials
from tegu.learners.modules.features import forward_with_features

__all__ = ["Prepared", "link", "prepare", "row_features"]

_AT_ONCE = 1024  # rows of a forward pass
_MIN_LENGTH = 1e-12

RowFeatures: TypeAlias = Callable[[Array], tuple[Array, Array]]
"""Inputs `[rows, ...]` -> the module's outputs `[rows, outputs]` and features `[rows, width]`, float64."""


class Prepared(NamedTuple):
    """Trials as similarities of rows.

    Similarities are dot products of features, divided by the mean squared length of the support's features.

    Attributes:
        targets: float64 `[trials, k, outputs]`, of the supports; one-hot for classes.
        outputs: float64 `[trials, k, outputs]`, the module's outputs for the supports.
        similarity: float64 `[trials, k, k]`, between the rows of each support.
        query_outputs: for each trial `[rows, outputs]`, the module's outputs for the query.
        query_similarity: for each trial `[rows, k]`, between query and support.
        query_length: for each trial `[rows]`, the similarity of each query row to itself.
    """

    targets: Array
    outputs: Array
    similarity: Array
    query_outputs: Sequence[Array]
    query_similarity: Sequence[Array]
    query_length: Sequence[Array]

    def __repr__(self) -> str:
        trials, k, outputs = self.targets.shape
        return f"Prepared(trials={trials}, k={k}, outputs={outputs})"


def row_features(module: nn.Module, meta: Tree) -> RowFeatures:
    """The module's outputs and features with these parameters; equal rows are computed once.

    Args:
        module: a checked module.
        meta: its parameters.
    """
    parameters = {name: torch.from_numpy(np.array(meta[name])) for name, _ in module.named_parameters()}
    known: dict[bytes, tuple[Array, Array]] = {}

    def compute(x: Array) -> None:
        with torch.no_grad():
            found = forward_with_features(module, parameters, torch.from_numpy(np.ascontiguousarray(x)))
        for key, output, features in zip(_keys(x), found.output.numpy(), found.features.numpy(), strict=True):
            known[key] = output.astype(np.float64), features.astype(np.float64)

    def of(x: Array) -> tuple[Array, Array]:
        keys = _keys(x)
        new = [index for index, key in enumerate(keys) if key not in known]
        for start in range(0, len(new), _AT_ONCE):
            compute(x[new[start : start + _AT_ONCE]])
        outputs, features = zip(*(known[key] for key in keys), strict=True)
        return np.stack(outputs), np.stack(features)

    return of


def _keys(x: Array) -> list[bytes]:
    return [hashlib.blake2b(np.ascontiguousarray(row).tobytes(), digest_size=16).digest() for row in x]


def prepare(trials: Trials, features: RowFeatures) -> Prepared:
    """The trials as similarities of rows; see `Prepared`."""
    each = [_prepare_one(trial, trials, features) for trial in trials.trials]
    targets, outputs, similarity, *query = zip(*each, strict=True)
    return Prepared(np.stack(targets), np.stack(outputs), np.stack(similarity), *query)


def _prepare_one(trial: Trial, trials: Trials, features: RowFeatures) -> tuple[Array, ...]:
    y, classes = trial.support.y, trials.spec.outputs
    targets = np.eye(classes)[y] if trials.spec.kind == "classification" else y.astype(np.float64)
    outputs, own = features(trial.support.x)
    query_outputs, query = features(trial.query.x)
    scale = max(float(np.square(own).sum(1).mean()), _MIN_LENGTH)
    return (
        targets,
        outputs,
        own @ own.T / scale,
        query_outputs,
        query @ own.T / scale,
        np.square(query).sum(1) / scale,
    )


def link(outputs: Array, kind: Kind) -> Array:
    """Probabilities of classes or labels from logits `[..., outputs]`; values of a regression stay as they are."""
    if kind == "regression":
        return outputs
    if kind == "multilabel":
        return np.asarray(0.5 * (1 + np.tanh(outputs / 2)))
    shifted = np.exp(outputs - outputs.max(-1, keepdims=True))
    return np.asarray(shifted / shifted.sum(-1, keepdims=True))
