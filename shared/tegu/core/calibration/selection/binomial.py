"""Exact confidence bounds on a share, from how many of n people have a property.

Clopper and Pearson 1934, "The use of confidence or fiducial limits illustrated in the case of the binomial".
"""

from __future__ import annotations

import math

import numpy as np

__all__ = ["at_most_probability", "count_with_probability", "lower_bound", "people_to_show", "upper_bound"]

_HALVINGS = 60  # of the interval from 0 to 1: beyond double precision
_MOST_PEOPLE = 10**7


def at_most_probability(count: int, people: int, share: float) -> float:
    """The probability that at most `count` of `people` have a property that a `share` of all people has."""
    if count >= people or share <= 0:
        return 1.0
    if share >= 1 or count < 0:
        return 0.0
    up_to = np.arange(count + 1)
    logs = np.cumsum(np.log((people - up_to[1:] + 1) / up_to[1:])) if count else np.zeros(0)
    logs = np.concatenate([[0.0], logs]) + up_to * math.log(share) + (people - up_to) * math.log1p(-share)
    return float(min(np.exp(logs).sum(), 1.0))


def count_with_probability(people: int, share: float, probability: float) -> int:
    """The smallest number that, with this probability, is not exceeded by those of `people` with a property.

    Args:
        people: independent draws.
        share: of all people who have the property.
        probability: from 0 to below 1.
    """
    return next(count for count in range(people + 1) if at_most_probability(count, people, share) >= probability)


def upper_bound(count: int, people: int, confidence: float) -> float:
    """With this confidence, at most this share of all people has what `count` of `people` have.

    Args:
        count: from 0 to `people`.
        people: independent draws; 0 gives the bound 1.
        confidence: from 0 to 1.
    """
    if count >= people:
        return 1.0
    low, high = count / people, 1.0
    for _ in range(_HALVINGS):
        middle = (low + high) / 2
        if at_most_probability(count, people, middle) > 1 - confidence:
            low = middle
        else:
            high = middle
    return high


def lower_bound(count: int, people: int, confidence: float) -> float:
    """With this confidence, at least this share of all people has what `count` of `people` have."""
    return 1 - upper_bound(people - count, people, confidence) if people else 0.0


def people_to_show(risk: float, confidence: float, share: float = 0.0) -> int | None:
    """How many people it takes to show that at most `risk` of all have a property.

    Args:
        risk: to be shown.
        confidence: with which it is to be shown.
        share: of these people who have the property.

    Returns:
        The number, with a precision of a hundredth; None if no number of people could show it.
    """
    if risk >= 1:
        return 1
    if share >= risk:
        return None
    people = math.ceil(math.log1p(-confidence) / math.log1p(-risk))
    while at_most_probability(round(share * people), people, risk) > 1 - confidence:
        people = math.ceil(people * 1.01)
        if people > _MOST_PEOPLE:
            return None
    return people
