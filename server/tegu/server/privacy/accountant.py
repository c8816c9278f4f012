"""The epsilon of noised rounds, by the privacy loss distribution of Google's dp-accounting.

Doroshenko et al. 2022, "Connect the dots", arXiv:2207.04380. Estimates are pessimistic: an epsilon is never too small.

A round takes each node with a probability, on its own (Poisson sampling). Its Gaussian mechanism has a noise
multiplier, and neighbouring data differ in one person: all of the person's updates are there, or all are zero.
"""

from __future__ import annotations

import importlib.metadata
import math
from collections.abc import Iterable
from functools import reduce
from typing import Any, NamedTuple

from tegu.core.errors import require

__all__ = ["Accountant", "Spent", "accountant_name", "noise_for"]

_INTERVAL = 5e-3  # of the discretised privacy loss; a finer one changes the fourth digit and takes seconds a round
_LEAST, _MOST = 0.1, 1e5  # noise multipliers that are tried
_PRECISION = 1e-3  # relative, of a multiplier that is found


class Spent(NamedTuple):
    """Rounds of one kind.

    Attributes:
        probability: with which a node takes part.
        noise: noise multiplier.
        rounds: number of rounds.
    """

    probability: float
    noise: float
    rounds: int


class Accountant:
    """Adds up rounds, and says their epsilon.

    Args:
        delta: of the guarantee.
        spent: rounds so far.

    Raises:
        MissingExtraError: dp-accounting is not installed.
    """

    def __init__(self, delta: float, spent: Iterable[Spent] = ()) -> None:
        self._library = require("dp_accounting.pld.privacy_loss_distribution", "privacy")
        self._delta = delta
        self._single: dict[tuple[float, float], Any] = {}  # the distribution of one round of each kind
        self._known: dict[tuple[Spent, ...], float] = {}
        self._rounds: dict[tuple[float, float], int] = {}
        for each in spent:
            self.add(each)

    def __repr__(self) -> str:
        return f"Accountant(delta={self._delta}, {list(self.spent)})"

    @property
    def spent(self) -> tuple[Spent, ...]:
        """The rounds so far, by kind."""
        return tuple(Spent(*kind, rounds) for kind, rounds in self._rounds.items())

    def add(self, more: Spent) -> None:
        """Add rounds."""
        kind = more.probability, more.noise
        self._rounds[kind] = self._rounds.get(kind, 0) + more.rounds

    def epsilon(self, more: Spent | None = None) -> float:
        """The epsilon of the rounds so far, and of some more.

        Args:
            more: rounds that are not added.
        """
        rounds = dict(self._rounds)
        if more is not None:
            kind = more.probability, more.noise
            rounds[kind] = rounds.get(kind, 0) + more.rounds
        key = tuple(Spent(*kind, number) for kind, number in rounds.items())
        if key not in self._known:
            self._known = {key: self._compute(key)}
        return self._known[key]

    def _compute(self, spent: tuple[Spent, ...]) -> float:
        whole = [each for each in spent if each.probability >= 1]
        found = [
            self._one(each.probability, each.noise).self_compose(each.rounds) for each in spent if each not in whole
        ]
        if whole:  # Gaussian mechanisms together are one, whose precision is the sum of theirs
            found.append(self._distribution(1.0, sum(each.rounds / each.noise**2 for each in whole) ** -0.5))
        if not found:
            return 0.0
        together = reduce(lambda one, other: one.compose(other), found)
        return float(together.get_epsilon_for_delta(self._delta))

    def _one(self, probability: float, noise: float) -> Any:
        kind = probability, noise
        if kind not in self._single:
            self._single[kind] = self._distribution(probability, noise)
        return self._single[kind]

    def _distribution(self, probability: float, noise: float) -> Any:
        return self._library.from_gaussian_mechanism(
            noise, sampling_prob=probability, value_discretization_interval=_INTERVAL
        )


def noise_for(epsilon: float, delta: float, probability: float, rounds: int) -> float:
    """The least noise multiplier, to a thousandth, with which so many rounds keep an epsilon.

    Args:
        epsilon: above 0.
        delta: of the guarantee.
        probability: with which a node takes part.
        rounds: number of rounds.

    Raises:
        MissingExtraError: dp-accounting is not installed.
    """

    def keeps(noise: float) -> bool:
        return Accountant(delta, [Spent(probability, noise, rounds)]).epsilon() <= epsilon

    low, high = _LEAST, 1.0
    while high < _MOST and not keeps(high):
        low, high = high, 2 * high
    if high == 1.0:
        while high > _LEAST and keeps(high / 2):
            high /= 2
        low = high / 2
    while high / low > 1 + _PRECISION:
        middle = math.sqrt(low * high)
        low, high = (low, middle) if keeps(middle) else (middle, high)
    return high


def accountant_name() -> str:
    """The accountant and its version, for records."""
    return f"dp-accounting {importlib.metadata.version('dp-accounting')}, privacy loss distribution"
