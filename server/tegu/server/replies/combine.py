"""The nodes' answers to an evaluation round, combined so that no single node decides.

- No node counts for more users than `influence` allows. Of fewer than five nodes, whose numbers of people in a group
  differ by chance, none counts for more than eight times the number at its quantile.
- A node whose users are said to have values that are not finite counts as a node whose users are all hurt.
- Of five nodes or more, a node's gains are at most three times as large as those that four fifths of the nodes do not
  exceed: larger ones are scaled down, and so are squared gains less noise. Who is hurt stays, so that no limit on harm
  is loosened.
- Scores, which decide when training stops, are a trimmed mean: of three nodes or more, the fifth with the lowest and
  the fifth with the highest means are left out, at least one each.
- A robust rule, if the plan names one, takes the sum's place; see `tegu.server.replies.robust_answers`.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from tegu.core.calibration.evaluation_request import CandidateSet, MetricSums, no_users
from tegu.core.calibration.selection.figures import FIGURE
from tegu.core.data.batch import Array
from tegu.server.replies.aggregation import Rule
from tegu.server.replies.influence import most_users, upper_place
from tegu.server.replies.robust_answers import robust_answer

__all__ = ["combine_answers"]

_FEW_NODES = 3  # fewer cannot outvote one
_ENOUGH_NODES = 5  # fewer honest ones differ so much by chance that a bound would hit them
_MOST_OF_FEW = 8
_TRIMMED = 0.2  # share of nodes, on either side
_LARGEST = 3.0  # times the root mean square, or the variance, at the quantile
_MEAN = Rule()
_HURT = {"gains": (2, 3), "strict": (2,)}
# How each column changes where gains are multiplied by a factor: to which power of it.
_POWERS = {"gains": (1, 2, 0, 0, 1, 1, 0, 0, 0), "strict": (1, 2, 0)}
_LASTING = [7, 8]  # columns of "gains": squared gains less noise, and their squares


def combine_answers(
    questions: Sequence[CandidateSet], answers: Sequence[Sequence[MetricSums]], rule: Rule = _MEAN
) -> list[MetricSums]:
    """The answers of all nodes together, one for each set of candidates.

    Args:
        questions: of the request.
        answers: checked answers of each node, at least one.
        rule: how answers become one.
    """
    return [
        _combined(question, [each for each in given if each.users], rule)
        for question, given in zip(questions, zip(*answers, strict=True), strict=True)
    ]


def _combined(question: CandidateSet, given: Sequence[MetricSums], rule: Rule) -> MetricSums:
    if len(given) <= 1:
        return given[0] if given else no_users(question)
    given = _all_finite(question, given)
    users = [each.users for each in given]
    most = most_users(users) if len(given) >= _ENOUGH_NODES else most_users(users, _MOST_OF_FEW)
    limited = [_limited(question, each, most) for each in given]
    if rule.name == "mean" and question.measure == "scores" and len(limited) >= _FEW_NODES:
        return _trimmed(limited)
    if len(limited) >= _ENOUGH_NODES and question.measure != "scores":
        limited = _bounded(question, limited)
    if rule.name != "mean":
        return robust_answer(question, limited, rule)
    return MetricSums(sum(each.users for each in limited), np.sum([each.sums for each in limited], axis=0))


def _all_finite(question: CandidateSet, given: Sequence[MetricSums]) -> list[MetricSums]:
    """Without NaN: the users of such a figure are hurt, or the node's answer is left out if harm is not asked for.

    If all nodes would be left out, they stay.
    """
    if question.measure in _HURT:
        return [_as_hurt(question, each) for each in given]
    return [each for each in given if np.isfinite(each.sums).all()] or list(given)


def _as_hurt(question: CandidateSet, answer: MetricSums) -> MetricSums:
    wild = np.asarray(~np.isfinite(answer.sums).all(axis=1))
    if not wild.any():
        return answer
    sums = answer.sums.copy()
    sums[wild] = 0.0
    for column in _HURT[question.measure]:
        sums[wild, column] = answer.users
    if question.measure == "gains" and not wild.all():
        sums[wild, FIGURE] = sums[~wild, FIGURE][0]
    return MetricSums(answer.users, sums)


def _limited(question: CandidateSet, answer: MetricSums, most: int) -> MetricSums:
    """The same means over at most so many users. Users hurt are rounded up."""
    if answer.users <= most:
        return answer
    sums = answer.sums * (most / answer.users)
    if question.measure in _HURT:
        hurt = _HURT[question.measure][0]
        sums[:, hurt] = np.minimum(np.ceil(sums[:, hurt] - 1e-9), most)
    return MetricSums(most, sums)


def _bounded(question: CandidateSet, given: Sequence[MetricSums]) -> list[MetricSums]:
    """Every node's gains, at most `_LARGEST` times as large as at the quantile, candidate by candidate."""
    if question.measure == "lines":
        evidence = _factors(given, [each.sums[:, 2] for each in given], question.draws)
        gain = _factors(given, [each.sums[:, 4] for each in given], question.draws)
        columns = [np.stack([e, g, e * e, e * g, g * g], 1) for e, g in zip(evidence, gain, strict=True)]
    else:
        powers = np.asarray(_POWERS[question.measure])
        factors = _factors(given, [each.sums[:, 1] for each in given], 1)
        columns = [factor[:, None] ** powers for factor in factors]
        figures = _further_factors(question, given)
        columns = [column * figure for column, figure in zip(columns, figures, strict=True)]
    return [MetricSums(each.users, each.sums * factor) for each, factor in zip(given, columns, strict=True)]


def _factors(given: Sequence[MetricSums], squares: Sequence[Array], draws: int) -> list[Array]:
    """What each node's values are multiplied by, `[nodes]` of `[candidates]`: 1 where they are not too large."""
    sizes = np.stack([np.sqrt(each / (own.users * draws)) for own, each in zip(given, squares, strict=True)])
    return list(_at_most(sizes))


def _further_factors(question: CandidateSet, given: Sequence[MetricSums]) -> list[Array]:
    """The same for columns that are no power of a gain, `[nodes]` of `[candidates, columns]`."""
    factors = np.ones((len(given), *given[0].sums.shape))
    if question.measure == "gains":
        factors[:, :, FIGURE] = _at_most(np.stack([each.sums[:, FIGURE] / each.users for each in given]))
        lasting = _at_most(np.stack([np.sqrt(each.sums[:, _LASTING[1]] / each.users) for each in given]))
        factors[:, :, _LASTING] = np.stack([lasting, np.square(lasting)], -1)
    return list(factors)


def _at_most(sizes: Array) -> Array:
    """Factors that bring `[nodes, candidates]` to at most `_LARGEST` times the quantile over nodes, if above 0."""
    limit = _LARGEST * np.sort(sizes, axis=0)[upper_place(len(sizes))]
    factors: Array = np.where((limit > 0) & (sizes > limit), limit / np.where(sizes > 0, sizes, 1.0), 1.0)
    return factors


def _trimmed(given: Sequence[MetricSums]) -> MetricSums:
    """The trimmed mean over nodes of each candidate, as sums over the users that are left."""
    users = np.asarray([each.users for each in given], np.float64)
    totals, squares = np.stack([each.sums for each in given]).transpose(2, 0, 1)  # [nodes, candidates]
    means = totals / users[:, None]
    variances = np.maximum(squares / users[:, None] - np.square(means), 0.0)
    variances *= _at_most(variances)
    cut = max(1, int(_TRIMMED * len(given)))
    kept = np.sort(means.argsort(axis=0, kind="stable")[cut : len(given) - cut], axis=0)
    weights = users[kept]
    left = int(weights.sum(0).min())
    shares = weights / weights.sum(0)
    own = np.take_along_axis(means, kept, 0)
    mean = (shares * own).sum(0)
    spread = (shares * (np.take_along_axis(variances, kept, 0) + np.square(own - mean))).sum(0)
    return MetricSums(left, left * np.stack([mean, spread + np.square(mean)], 1))
