"""One schedule for all k: what is known at one k is shared with its neighbours.

A path is proposed from figures that are pooled over k, and joined by the path of the k below. Where too few users have
k rows to judge anything, the candidate of the k below is kept. Where nobody proposes at any k, a path that was fixed
beforehand is tested, which is as honest.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import NamedTuple

import numpy as np

from tegu.core.calibration.selection.choice import (
    GAIN_Z,
    Choice,
    Evidence,
    acceptable,
    choose,
    described,
    not_shown_worse,
    nothing_chosen,
    tested_along,
    within_limits,
)
from tegu.core.calibration.selection.figures import Figures, add_figures, pool_over_k
from tegu.core.calibration.selection.limits import Limits
from tegu.core.calibration.selection.path import propose_path

__all__ = ["gather_evidence", "monotone_gains", "select_over_k"]

_FEW_PEOPLE = 20  # fewer cannot judge a candidate, if twice as many could at the k below


class _Below(NamedTuple):
    """The k below: its number of calibration users, its paths and its choice."""

    people: int
    proposed: Sequence[int]
    path: Sequence[int]
    choice: int | None


def select_over_k(
    ks: Sequence[int],
    proposing: Sequence[Figures],
    testing: Sequence[Figures],
    limits: Limits,
    fixed_path: Sequence[int] = (),
) -> list[Choice]:
    """What to do at each k.

    Args:
        ks: numbers of interactions, ascending.
        proposing: figures of the proposing users at each k, of the same candidates.
        testing: figures of the testing users at each k.
        limits: on harm.
        fixed_path: candidates to test where there are no proposing users at any k, from gentle to strong; chosen
            without any figure of the testing users.
    """
    evidence = gather_evidence(ks, proposing, testing)
    found, below = list[Choice](), None
    for each in evidence:
        choice, below = _select(each, below, limits, fixed_path)
        found.append(choice)
    return _with_monotone_gains(found, evidence)


def gather_evidence(ks: Sequence[int], proposing: Sequence[Figures], testing: Sequence[Figures]) -> list[Evidence]:
    """The evidence at each k; arguments as in `select_over_k`."""
    everyone = [add_figures(one, other) for one, other in zip(proposing, testing, strict=True)]
    parts = pool_over_k(ks, proposing), testing, everyone, pool_over_k(ks, everyone)
    return [Evidence(*each) for each in zip(*parts, strict=True)]


def _select(
    evidence: Evidence, below: _Below | None, limits: Limits, fixed_path: Sequence[int]
) -> tuple[Choice, _Below]:
    people = evidence.people
    thin = below is not None and people < _FEW_PEOPLE and 2 * people < below.people
    proposed = propose_path(evidence.proposing, limits)
    path = _ordered(proposed, (below.path if thin else below.proposed) if below else (), evidence.proposing)
    if not evidence.proposing.people.any():
        path = list(fixed_path)
    before = below.choice if below else None
    choice = _along(path, before, evidence, limits, thin=thin) if path else nothing_chosen(people, limits)
    judged = max(people, below.people) if below and thin else people
    return choice, _Below(judged, proposed, path, choice.candidate)


def _along(path: Sequence[int], before: int | None, evidence: Evidence, limits: Limits, *, thin: bool) -> Choice:
    """The choice among the candidates of a path that have passed the test, or its gentlest."""
    tested = tested_along(path, evidence, limits)
    passed = path[: max(tested.passed, 1)]
    fine = acceptable(evidence.pooled, limits)
    kept = not_shown_worse(evidence, limits) if thin else within_limits(evidence.pooled, limits)
    options = [option for option in passed if fine[option] or (option == before and kept[option])]
    chosen = before if thin and before in options else choose(options, evidence.pooled)
    if chosen is None:
        return nothing_chosen(evidence.people, limits)
    return described(chosen, tested.bound(path.index(chosen), len(path)), evidence, limits)


def _ordered(own: Sequence[int], others: Sequence[int], proposing: Figures) -> list[int]:
    """The candidates of two paths, those that hurt least first."""
    usable = [each for each in dict.fromkeys([*own, *others]) if proposing.finite[each]]
    return sorted(usable, key=lambda each: (float(proposing.smoothed_hurt[each]), float(proposing.gain[each]), each))


def _with_monotone_gains(choices: Sequence[Choice], evidence: Sequence[Evidence]) -> list[Choice]:
    people = [max(each.people, 1) for each in evidence]
    gains = monotone_gains([each.gain for each in choices], [each.gain_sd for each in choices], people)
    return [each._replace(gain=gain) for each, gain in zip(choices, gains, strict=True)]


def monotone_gains(gains: Sequence[float], deviations: Sequence[float], people: Sequence[int]) -> list[float]:
    """Expected gains that never fall with k, but where enough people show it: isotonic regression, weighted by people.

    Args:
        gains: mean gain at each k.
        deviations: standard deviation of the users' gains at each k.
        people: number of users at each k, at least one.
    """
    errors = np.asarray(deviations) / np.sqrt(people)
    falls = [
        place
        for place in range(1, len(gains))
        if people[place] >= _FEW_PEOPLE
        and gains[place - 1] - gains[place] > GAIN_Z * float(np.hypot(errors[place - 1], errors[place]))
    ]
    starts = [0, *falls, len(gains)]
    return [value for start, end in pairwise(starts) for value in _isotonic(gains[start:end], people[start:end])]


def _isotonic(values: Sequence[float], weights: Sequence[float]) -> list[float]:
    """Ascending values nearest to the given ones in weighted squares: pool adjacent violators."""
    blocks = list[tuple[float, float, int]]()
    for value, weight in zip(values, weights, strict=True):
        block = (value, float(weight), 1)
        while blocks and blocks[-1][0] > block[0]:
            mean, total, size = blocks.pop()
            joint = total + block[1]
            block = ((mean * total + block[0] * block[1]) / joint, joint, size + block[2])
        blocks.append(block)
    return [mean for mean, _, size in blocks for _ in range(size)]
