"""The bound on materially hurt users where the first fold's people choose the number of rounds and also calibrate.

Synthetic populations as in `tests.core.calibration.selection.test_bound_holds`, with two folds. After every validated
round a fold has another model, that is, other gains of the same people. The first fold's people choose the round by
validation, and the other fold's model is that of the same round. The true share of hurt users is the mean over both
models, known from 4,000 further people.

The models differ as much as models can: their gains are independent, none is better than another, and the figure that
chooses follows from the gains alone. A real run's models are nearly the same from one validation to the next.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import pytest
from tests.core.calibration.selection.test_bound_holds import (
    CONFIDENCE,
    CORRECTIONS,
    CROWD,
    KS,
    PEOPLE,
    POPULATIONS,
    Sample,
    draw,
    figures,
)

from tegu.core.calibration.assignment import PROPOSING
from tegu.core.calibration.selection.figures import Figures, add_figures
from tegu.core.calibration.selection.limits import Limits
from tegu.core.calibration.selection.over_k import select_over_k
from tegu.core.data.batch import Array
from tegu.server.evaluation.flatness import is_flat, is_growing_round, kept_round
from tegu.server.evaluation.validation import Validation

ROUNDS = [number for number in range(1, 601) if is_growing_round(number)]
VALIDATED, OWN_KNOBS = 1, -1  # place among KS, and the candidate that validations try: the strongest


def until_flat(validations: Sequence[Validation]) -> int:
    """The round that a run keeps."""
    ends = (end for end in range(1, len(validations) + 1) if is_flat(validations[:end], True))
    kept = kept_round(validations[: next(ends, len(validations))], True)
    assert kept is not None
    return kept


def best_of_all(validations: Sequence[Validation]) -> int:
    """The round with the highest single figure, which no run keeps: nothing is more a matter of luck."""
    return max(validations, key=lambda each: each.personalised).round


CHOICES: dict[str, Callable[[Sequence[Validation]], int]] = {"until_flat": until_flat, "best_of_all": best_of_all}


def holds(kind: str, number: int) -> Array:
    """Whether the bound holds in one population, by choice of the round and by k: `[choices, ks]`."""
    rng, limits = np.random.default_rng([number, len(kind), 2]), Limits(confidence=CONFIDENCE)
    strength, people = rng.uniform(0.3, 1.5, CORRECTIONS), PEOPLE[number % len(PEOPLE)]
    folds, proposes = rng.random(people) < 0.5, rng.random(people) < PROPOSING
    models = {each: draw(kind, rng, strength, people) for each in ROUNDS}
    first = [Validation(each, 0.0, _mean_gain(model, folds)) for each, model in models.items()]
    other = draw(kind, rng, strength, people)
    crowds = [draw(kind, rng, strength, CROWD) for _ in range(2)]
    found = []
    for choose in CHOICES.values():
        evaluated = ((models[choose(first)], folds), (other, ~folds))
        chosen = select_over_k(
            KS,
            *([_sums(evaluated, at, proposes == half, limits) for at in range(len(KS))] for half in (True, False)),
            limits,
        )
        hurt = [
            0.0 if one.candidate is None else np.mean([_hurt(crowd, place, one.candidate, limits) for crowd in crowds])
            for place, one in enumerate(chosen)
        ]
        found.append([share <= one.harm.bound for share, one in zip(hurt, chosen, strict=True)])
    return np.asarray(found)


def _hurt(crowd: Sample, place: int, candidate: int, limits: Limits) -> float:
    alone = crowd._replace(gains=crowd.gains[:, [candidate]])
    return float(figures(alone, place, np.arange(CROWD), limits).hurt[0])


def _mean_gain(model: Sample, who: Array) -> float:
    return float(model.gains[VALIDATED, OWN_KNOBS, who].mean())


def _sums(evaluated: Sequence[tuple[Sample, Array]], place: int, who: Array, limits: Limits) -> Figures:
    """The sums over the people that have enough rows at this k, each under the model of the own fold."""
    able = np.arange(len(who)) < round(len(who) / (1 + 0.5 * place))
    one, other = (figures(model, place, np.flatnonzero(who & able & fold), limits) for model, fold in evaluated)
    return add_figures(one, other)


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["normal", "rare losses", "heavy tails", "choices"])
def test_the_bound_holds_in_nine_of_ten_populations(kind: str) -> None:
    found = np.asarray([holds(kind, number) for number in range(POPULATIONS)]).mean(0)
    for choice, shares in zip(CHOICES, found, strict=True):
        assert (shares >= CONFIDENCE).all(), (choice, dict(zip(KS, shares, strict=True)))
