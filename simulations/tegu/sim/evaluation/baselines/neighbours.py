"""Nearest neighbours in the module's features: the support's nearest rows vote, beside the initialisation.

Rows vote for their classes. In a regression they vote for their residuals: what is added to the initialisation's value.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import product
from typing import NamedTuple

import numpy as np

from tegu.core.data.batch import Array
from tegu.core.data.spec import Kind
from tegu.sim.evaluation.baselines.module_features import Prepared, link

__all__ = ["NEIGHBOURS", "Neighbours", "neighbour_outputs"]

_MIN_PROBABILITY = 1e-6
_ALL = 10**6


class Neighbours(NamedTuple):
    """Settings of the vote.

    Attributes:
        number: of the nearest rows that vote.
        temperature: a row at squared distance d votes with the weight `exp(-d / temperature)`; the support's features
            have a mean squared length of 1.
        blend: share of the vote; the rest is the initialisation's. In a regression, the share of the residual.
    """

    number: int
    temperature: float
    blend: float


NEIGHBOURS = tuple(
    Neighbours(*each)
    for each in (
        *product((1,), (1.0,), (0.1, 0.25, 0.5, 1.0)),
        *product((5, _ALL), (0.03, 0.1, 0.3, 1.0, 10.0), (0.1, 0.25, 0.5, 1.0)),
    )
)


def neighbour_outputs(prepared: Prepared, setting: Neighbours, kind: Kind) -> Sequence[Array]:
    """Outputs for each trial's query: logarithms of probabilities, logits of labels, or values of a regression.

    Args:
        prepared: the trials.
        setting: of the vote.
        kind: of the task.
    """
    parts = zip(
        prepared.targets - prepared.outputs if kind == "regression" else prepared.targets,
        prepared.similarity,
        prepared.query_outputs,
        prepared.query_similarity,
        prepared.query_length,
        strict=True,
    )
    found = []
    for targets, own, outputs, similarity, length in parts:
        votes = setting.blend * _votes(length[:, None] + np.diag(own) - 2 * similarity, setting)
        kept = 1.0 if kind == "regression" else 1 - setting.blend
        found.append(_as_outputs(votes @ targets + kept * link(outputs, kind), kind))
    return found


def _votes(distance: Array, setting: Neighbours) -> Array:
    """Weights `[query rows, k]`, with sum 1."""
    farthest = np.sort(distance, 1)[:, min(setting.number, distance.shape[1]) - 1, None]
    scaled = np.where(distance <= farthest, -(distance - distance.min(1, keepdims=True)) / setting.temperature, -np.inf)
    weights = np.exp(scaled)
    return np.asarray(weights / weights.sum(1, keepdims=True))


def _as_outputs(values: Array, kind: Kind) -> Array:
    if kind == "regression":
        return values
    kept = values.clip(_MIN_PROBABILITY, 1 - _MIN_PROBABILITY)
    return np.asarray(np.log(kept) - np.log(1 - kept) if kind == "multilabel" else np.log(kept))
