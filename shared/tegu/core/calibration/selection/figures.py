"""Gains and harm of candidates, summed over users, and their partial pooling over k.

Where few users have k rows, chance decides which candidate looks best. Their sums are therefore joined by those of
neighbouring k, up to a fixed weight: where many users have k rows, the neighbours hardly count.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from tegu.core.calibration.harm import GainSums, allowed_loss, harm_ratio_less_noise, materially_hurt
from tegu.core.data.batch import Array

__all__ = [
    "COLUMNS",
    "FIGURE",
    "Figures",
    "add_figures",
    "figure_sums",
    "neighbour_weights",
    "pool_over_k",
    "ratio_of_sums",
]

COLUMNS = 9
FIGURE = 6  # column of the figure under the initialisation
_WIDTH = math.log(2)  # of the kernel over log k: half or twice as many interactions weigh 0.6
_STEEP = 50.0  # beyond it the logistic curve is 0 or 1 anyway
_ERRORS = 1.0  # standard errors of the mean square of lasting gains
_NOTICEABLE = 0.1  # of the largest mean gain
_UNUSUAL = 3.0  # times the median size of the candidates' gains: more is divergence
_STRENGTH = 20.0  # people that all neighbours together count as, at most


class Figures(NamedTuple):
    """Sums over users for each candidate at one k.

    Attributes:
        people: float64 `[candidates]`, number of users in the sums, all alike unless they were pooled.
        sums: float64 `[candidates, 9]` of gain, squared gain, materially hurt, the same smoothed (`figure_sums`),
            losses of losers, gains of gainers, the figure under the initialisation, squared gain less noise
            (`tegu.core.calibration.query_noise`), and its square. NaN where a user's gain is not finite.
    """

    people: Array
    sums: Array

    @property
    def finite(self) -> Array:
        """Which candidates have people and finite sums, bool `[candidates]`."""
        usable: Array = (self.people > 0) & np.isfinite(self.sums).all(1)
        return usable

    @property
    def gain(self) -> Array:
        """Mean gain, `[candidates]`."""
        return self._mean(0)

    @property
    def deviation(self) -> Array:
        """Standard deviation of the users' gains, `[candidates]`."""
        spread: Array = np.sqrt(np.maximum(self._mean(1) - np.square(self.gain), 0.0))
        return spread

    @property
    def error(self) -> Array:
        """Standard error of the mean gain, `[candidates]`."""
        error: Array = self.deviation / np.sqrt(np.maximum(self.people, 1.0))
        return error

    @property
    def hurt(self) -> Array:
        """Share of users materially hurt, `[candidates]`."""
        return self._mean(2)

    @property
    def smoothed_hurt(self) -> Array:
        """Smoothed share of users materially hurt, `[candidates]`."""
        return self._mean(3)

    @property
    def harm_ratio(self) -> Array:
        """The harm ratio less noise, `[candidates]`; infinite where nobody gains."""
        return np.asarray([ratio_of_sums(*each) for each in zip(self.people.tolist(), self.sums, strict=True)])

    def _mean(self, column: int) -> Array:
        mean: Array = self.sums[:, column] / np.maximum(self.people, 1e-300)
        return mean


def ratio_of_sums(people: float, sums: Array) -> float:
    """The harm ratio less noise, with one standard error for caution: of hundreds of candidates, some look harmless.

    Args:
        people: number of users in the sums.
        sums: `[9]`, one row of `Figures.sums`.
    """
    gain, squared, _, _, lost, _, _, lasting, fourths = sums.tolist()
    return harm_ratio_less_noise(GainSums(max(people, 1e-300), gain, squared, lost, lasting, fourths), _ERRORS)


def figure_sums(
    gain: Array, initialisation: Array, resolution: Array, material: float, squares: Array | None = None
) -> Array:
    """float64 `[9]`: one row of `Figures.sums` for these users. NaN where a gain is not finite.

    Whether a user is hurt is also smoothed: near 1 for those who lose much more than is allowed, falling to 0 over half
    of that. It orders candidates that hurt the same few users.

    Args:
        gain: over not adapting, `[users, draws]`.
        initialisation: `[users]`, the figure under the initialisation.
        resolution: `[users]`, the contribution of one query row.
        material: share of a user's own figure whose loss is material.
        squares: `[users]`, squared gains less noise; None for gains without noise.
    """
    if not np.isfinite(gain).all() or not np.isfinite(initialisation).all():
        return np.full(COLUMNS, np.nan)
    mean = gain.mean(1)
    allowed = allowed_loss(initialisation, resolution, material)
    smoothed_hurt = 1 / (1 + np.exp(np.clip(4 * (mean + allowed) / np.maximum(allowed, 1e-12), -_STEEP, _STEEP)))
    lasting = np.square(mean) if squares is None else squares
    parts = (
        mean,
        np.square(mean),
        materially_hurt(mean, allowed),
        smoothed_hurt,
        np.maximum(-mean, 0.0),
        np.maximum(mean, 0.0),
        np.abs(initialisation),
        lasting,
        np.square(lasting),
    )
    return np.asarray([part.sum() for part in parts], np.float64)


def add_figures(one: Figures, other: Figures) -> Figures:
    """The sums of two groups of users together."""
    return Figures(one.people + other.people, one.sums + other.sums)


def pool_over_k(ks: Sequence[int], figures: Sequence[Figures]) -> list[Figures]:
    """The sums at each k, joined by those at neighbouring k with weights; see `neighbour_weights`.

    Gains often grow with k. Those of neighbours are therefore multiplied, so that they are as large as the own ones.
    A candidate that diverges at a neighbour says little about this k. It counts less the larger its gains and losses
    are, as in a mean that is weighted by inverse variances.

    Args:
        ks: numbers of interactions, each once.
        figures: at each k, of the same candidates. A candidate whose own sums are not finite stays so. Where there are
            no users, the neighbours' sums alone are left.
    """
    people = np.stack([each.people * each.finite for each in figures])
    sums = np.stack([np.where(each.finite[:, None], each.sums, 0.0) for each in figures])
    sizes = np.sqrt(sums[:, :, 1] / np.maximum(people, 1e-300))
    mean = sums[:, :, 0] / np.maximum(people, 1e-300)
    gains = np.where(mean > np.maximum(mean.max(1, keepdims=True), 0.0) * _NOTICEABLE, sizes, 0.0)
    pooled = []
    for place, own in enumerate(figures):
        factors = np.asarray([_median_ratio(gains[place], each) for each in gains])
        trust = _trust(sizes * factors[:, None], gains, place)
        weights: Array = neighbour_weights(ks, people.max(1), place)[:, None] * trust
        joined = np.einsum("kc,kcs->cs", weights, sums * _powers(factors)[:, None])
        sound = np.isfinite(own.sums).all(1, keepdims=True)
        pooled.append(Figures((weights * people).sum(0), np.where(sound, joined, np.nan)))
    return pooled


def _median_ratio(one: Array, other: Array) -> float:
    """How many times as large the sizes in `one` are, over the candidates that gain in both; 1 if none does."""
    both = (one > 0) & (other > 0)
    return float(np.median(one[both] / other[both])) if both.any() else 1.0


def _trust(sizes: Array, gains: Array, place: int) -> Array:
    """How much each neighbour's candidates count, `[ks, candidates]`: 1 for gains and losses of a usual size.

    Args:
        sizes: `[ks, candidates]`, root mean square of gains and losses.
        gains: the same without factors, and 0 for candidates that do not gain noticeably.
        place: of the k whose gains set the usual size.
    """
    own = gains[place][gains[place] > 0]
    usual = _UNUSUAL * float(np.median(own)) if own.size else math.inf
    trust: Array = np.square(np.minimum(1.0, usual / np.maximum(sizes, 1e-300)))
    trust[place] = 1.0
    return trust


def _powers(factors: Array) -> Array:
    """What multiplies each column of sums, `[ks, 9]`, where gains are multiplied by the factors `[ks]`."""
    columns = np.ones((len(factors), COLUMNS))
    columns[:, [0, 4, 5]] = factors[:, None]
    columns[:, [1, 7]] = np.square(factors)[:, None]
    columns[:, 8] = factors**4
    return columns


def neighbour_weights(ks: Sequence[int], people: Array, place: int) -> Array:
    """How much the users at each k count at the k of this place, `[ks]`: 1 for its own, less for its neighbours'.

    Args:
        ks: numbers of interactions, each once.
        people: `[ks]`, number of users at each.
        place: index among the ks.
    """
    weights: Array = np.exp(-0.5 * np.square(np.log(np.asarray(ks) / ks[place]) / _WIDTH))
    weights[place] = 0.0
    total = float(weights @ people)
    weights *= min(1.0, _STRENGTH / total) if total > 0 else 0.0
    weights[place] = 1.0
    return weights
