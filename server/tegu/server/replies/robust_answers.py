"""Robust rules over the nodes' answers to an evaluation round. Nodes count alike, by their means over users.

- trimmed_mean: for each candidate, the nodes with the lowest and with the highest gains are left out.
- median: for each candidate, the middle node, or the mean of the two in the middle.
- krum, multi_krum: the nodes whose whole answers are nearest to their neighbours' (Blanchard et al. 2017,
  arXiv:1703.02757), each figure in units of its median deviation over nodes.

Figures that belong together, such as a gain and its square, stay those of the same nodes. Who is hurt is ordered by
itself. A robust rule cannot tell harm that few nodes see from harm that few nodes claim: it leaves out both.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence

import numpy as np

from tegu.core.calibration.evaluation_request import CandidateSet, Measure, MetricSums
from tegu.core.data.batch import Array
from tegu.server.replies.aggregation import Rule

__all__ = ["robust_answer"]

# Columns that stay those of the same nodes; the first of each group orders the nodes.
_TOGETHER: Mapping[Measure, tuple[tuple[int, ...], ...]] = {
    "scores": ((0, 1),),
    "gains": ((0, 1, 4, 5, 6, 7, 8), (2,), (3,)),
    "strict": ((0, 1), (2,)),
    "lines": ((1, 0, 2, 3, 4),),
}
_HURT: Mapping[Measure, tuple[int, ...]] = {"gains": (2,), "strict": (2,)}
_EFFICIENCY = 2 / math.pi  # of a median: so much of the people's number is left in its error


def robust_answer(question: CandidateSet, given: Sequence[MetricSums], rule: Rule) -> MetricSums:
    """The answers of the nodes together.

    Args:
        question: the candidates.
        given: checked answers, each of some users and with finite sums; at least one.
        rule: another one than "mean".

    Returns:
        Sums over as many users as the rule keeps.
    """
    users = np.asarray([each.users for each in given], np.float64)
    means = np.stack([each.sums for each in given]) / users[:, None, None]  # [nodes, candidates, columns]
    found, left = np.empty_like(means[0]), users.sum()
    for columns in _TOGETHER[question.measure]:
        kept = _RULES[rule.name](means, columns[0], min(math.ceil(rule.attackers * len(given)), (len(given) - 1) // 2))
        for column in columns:
            found[:, column] = np.take_along_axis(means[:, :, column], kept, 0).mean(0)
        left = min(left, users[kept].sum(0).min())
    if rule.name == "median":
        left = max(left, _EFFICIENCY * users.sum())
    most = max(1, int(left))
    sums = most * found
    for column in _HURT.get(question.measure, ()):
        sums[:, column] = np.minimum(np.ceil(sums[:, column] - 1e-9), most)
    return MetricSums(most, sums)


def _trimmed_mean(means: Array, column: int, cut: int) -> Array:
    """Int64 `[kept, candidates]`: the places of the nodes that are kept for each candidate."""
    order = means[:, :, column].argsort(axis=0, kind="stable")
    return order[cut : len(means) - cut]


def _median(means: Array, column: int, cut: int) -> Array:
    del cut
    return _trimmed_mean(means, column, (len(means) - 1) // 2)


def _krum(means: Array, column: int, cut: int) -> Array:
    del column
    return _for_all(_nearest(means, cut)[:1], means)


def _multi_krum(means: Array, column: int, cut: int) -> Array:
    del column
    return _for_all(np.sort(_nearest(means, cut)[: len(means) - cut]), means)


def _for_all(nodes: Array, means: Array) -> Array:
    return np.repeat(nodes[:, None], means.shape[1], 1)


def _nearest(means: Array, cut: int) -> Array:
    """The nodes, those first whose squared distances to the nearest others have the smallest sum."""
    flat = means.reshape(len(means), -1)
    away = np.abs(flat - np.median(flat, axis=0))
    unit = np.median(away, axis=0)
    flat = flat / np.where(unit > 0, unit, np.where(away.max(0) > 0, away.max(0), 1.0))
    distances = np.square(flat[:, None] - flat[None]).sum(-1)
    near = max(1, len(means) - cut - 2)
    order: Array = np.sort(distances, axis=1)[:, 1 : near + 1].sum(1).argsort(kind="stable")
    return order


_RULES: Mapping[str, Callable[[Array, int, int], Array]] = {
    "trimmed_mean": _trimmed_mean,
    "median": _median,
    "krum": _krum,
    "multi_krum": _multi_krum,
}
