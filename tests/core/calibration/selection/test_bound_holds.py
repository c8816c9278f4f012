"""The bound on materially hurt users, over 200 synthetic populations of each of three kinds.

Every population is drawn anew, and so is its true share of hurt users, known from 4,000 further people. Candidates
apply a part of one of several corrections. With 90% confidence the true share is at most the bound.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import pytest

from tegu.core.calibration.assignment import PROPOSING
from tegu.core.calibration.harm import allowed_loss, materially_hurt
from tegu.core.calibration.selection.figures import Figures, figure_sums
from tegu.core.calibration.selection.limits import Limits
from tegu.core.calibration.selection.over_k import select_over_k
from tegu.core.data.batch import Array

KS, PARTS, CORRECTIONS = (1, 5, 20), (0.25, 0.5, 0.75, 1.0), 4
POPULATIONS, CROWD, CONFIDENCE = 200, 4000, 0.9
PEOPLE = (25, 60, 130, 400)


class Sample(NamedTuple):
    """Gains `[ks, candidates, people]`, and each person's own figure `[people]`."""

    gains: Array
    figures: Array


def parts_of(full: Array) -> Array:
    """Gains of each part of each correction: they rise with the part, and costs rise with its square."""
    return np.concatenate([part * full - 0.3 * part**2 * np.abs(full) for part in PARTS], 1)


def draw(kind: str, rng: np.random.Generator, strength: Array, people: int) -> Sample:
    """People of a population. `strength` `[corrections]` is how good the corrections are in it."""
    shape = (len(KS), CORRECTIONS, people)
    scale = np.log1p(KS)[:, None, None] / 3 * strength[:, None]
    own = rng.normal(size=(1, 1, people)) * 0.7 + rng.normal(size=shape) * 0.7
    if kind == "normal":
        full = 0.1 * scale * (1.5 + own)
    elif kind == "rare losses":
        unlucky = rng.random(shape) < 0.07 * strength[:, None]
        loss = rng.uniform(0.05, 0.4, shape)
        full = np.where(unlucky, -loss, np.where(rng.random(shape) < 0.5, 0.0, 0.3 * scale))
    else:
        heavy = rng.standard_t(2, size=shape)
        full = 0.03 * scale * (2 + heavy + own * np.log1p(KS)[:, None, None])
    return Sample(parts_of(full), rng.uniform(0.5, 1.5, people))


def figures(sample: Sample, place: int, who: Array, limits: Limits) -> Figures:
    gains, own = sample.gains[place][:, who], sample.figures[who]
    sums = [figure_sums(gain[:, None], own, own / 50, limits.material) for gain in gains]
    return Figures(np.full(len(gains), float(len(who))), np.stack(sums))


def judge(kind: str, number: int, limits: Limits) -> tuple[list[bool], bool]:
    """Whether the bound holds at each k of one population, and whether it adapts at any k."""
    rng = np.random.default_rng([number, len(kind)])
    strength = rng.uniform(0.3, 1.5, CORRECTIONS)
    sample, crowd = draw(kind, rng, strength, PEOPLE[number % len(PEOPLE)]), draw(kind, rng, strength, CROWD)
    able = [np.arange(round(len(sample.figures) / (1 + 0.5 * place))) for place in range(len(KS))]
    proposes = rng.random(len(sample.figures)) < PROPOSING
    halves = [
        [figures(sample, place, who[proposes[who] == half], limits) for place, who in enumerate(able)]
        for half in (True, False)
    ]
    chosen = select_over_k(KS, *halves, limits)
    truth = materially_hurt(crowd.gains, allowed_loss(crowd.figures, crowd.figures / 50, limits.material)).mean(2)
    shares = [
        0.0 if each.candidate is None else float(true[each.candidate]) for each, true in zip(chosen, truth, strict=True)
    ]
    holds = [share <= each.harm.bound for share, each in zip(shares, chosen, strict=True)]
    return holds, any(each.candidate is not None for each in chosen)


@pytest.mark.parametrize("kind", ["normal", "rare losses", "heavy tails"])
def test_the_bound_holds_in_nine_of_ten_populations(kind: str) -> None:
    found = [judge(kind, number, Limits(confidence=CONFIDENCE)) for number in range(POPULATIONS)]
    holds = np.asarray([each for each, _ in found])
    assert (holds.mean(0) >= CONFIDENCE).all(), dict(zip(KS, holds.mean(0), strict=True))
    assert np.mean([adapts for _, adapts in found]) > 0.5, "a bound that holds because nothing adapts shows nothing"
