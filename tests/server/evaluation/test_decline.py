"""The decline of the validation figure: noise is not taken for a decline, and a true decline is found."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pytest

from tegu.core.data.batch import Array
from tegu.server.evaluation.decline import Decline, ValidationPoint, decline_as_json, decline_from, decline_in_words

SEEDS = 200
NOISE = 0.005
RISE = 0.4 * (1 - np.exp(-np.arange(20) / 2))  # to a plateau, over twenty validations
Sequence = Callable[[np.random.Generator], Array]


def points(figures: Array, error: float = 0.036) -> list[ValidationPoint]:
    return [ValidationPoint(10 * number, float(figure), error) for number, figure in enumerate(figures, 1)]


def decline(figures: Array, higher: bool = True, error: float = 0.036) -> Decline:
    found = decline_from(points(figures if higher else -figures, error), higher)
    assert found is not None
    return found


def stops_run(figures: Array, patience: int = 5) -> bool:
    declines = (decline(figures[:end]) for end in range(1, len(figures) + 1))
    return any(found.clear and found.points >= patience for found in declines)


def share_of_runs(criterion: Callable[[Array], bool], sequence: Sequence) -> float:
    return float(np.mean([criterion(sequence(np.random.default_rng(seed))) for seed in range(SEEDS)]))


def plateau(rng: np.random.Generator) -> Array:
    return RISE + NOISE * rng.normal(size=20)


def wandering(rng: np.random.Generator) -> Array:
    """A fifth of a step's variance is permanent, as on `movielens`."""
    return RISE + 0.0032 * rng.normal(size=20) + np.cumsum(0.0022 * rng.normal(size=20))


def improving(rng: np.random.Generator) -> Array:
    return plateau(rng) + NOISE / 5 * np.arange(20)


def declining(rng: np.random.Generator) -> Array:
    return plateau(rng) - 2 * NOISE * np.maximum(0, np.arange(20) - 5)


def warns(figures: Array) -> bool:
    return decline(figures).clear


@pytest.mark.parametrize("criterion", [stops_run, warns])
@pytest.mark.parametrize(("sequence", "largest_share"), [(plateau, 0.01), (wandering, 0.05), (improving, 0.0)])
def test_noise_is_not_a_decline(criterion: Callable[[Array], bool], sequence: Sequence, largest_share: float) -> None:
    """The best of many noisy points is above the last in nearly every run, without any decline."""
    assert share_of_runs(criterion, sequence) <= largest_share


@pytest.mark.parametrize("criterion", [stops_run, warns])
def test_a_clear_decline_is_found(criterion: Callable[[Array], bool]) -> None:
    assert share_of_runs(criterion, declining) >= 0.98


OVER_FITTED = [0.0699, 0.2805, 0.3509, 0.389, 0.4087, 0.3935, 0.3997, 0.408, 0.4093, 0.3883, 0.3851, 0.3824, 0.3671,
               0.3713, 0.3713, 0.3607, 0.3652, 0.3698, 0.3713, 0.3508, 0.3569]  # fmt: skip
WELL_FITTED = [0.0699, 0.285, 0.3509, 0.3769, 0.3935, 0.3905, 0.3907, 0.4159, 0.4134, 0.4083, 0.4129, 0.4151, 0.4075,
               0.4053, 0.4129, 0.4114, 0.4173, 0.4068, 0.4068, 0.4098, 0.4114]  # fmt: skip


def test_validation_figures_of_two_movielens_runs() -> None:
    """Without weight decay held-out recall falls from 0.41 to 0.35; with it, held-out recall rises to the end."""
    over = np.asarray(OVER_FITTED)
    assert warns(over)
    assert stops_run(over[:14])
    assert not stops_run(over[:13])
    assert (decline(over).since, decline(over[:14]).since) == (90, 90)
    assert not warns(np.asarray(WELL_FITTED))
    assert not stops_run(np.asarray(WELL_FITTED), patience=1)


@pytest.mark.parametrize("higher", [True, False])
def test_decline_equals_a_calculation_by_hand(higher: bool) -> None:
    figures = np.asarray([0.1, 0.4, 0.5, 0.6, 0.3, 0.3, 0.0])
    found = decline(figures, higher, error=1.0)
    sign = 1 if higher else -1
    assert (found.since, found.round, found.points) == (40, 70, 3)
    assert (found.best, found.figure) == (pytest.approx(sign * 0.5), pytest.approx(sign * 0.2))
    assert found.amount == pytest.approx(0.3)
    steps = [0.1, 0.1, -0.3, 0.0, -0.3]  # between the last six points
    variance = np.mean(np.diff(steps) ** 2) / 2
    assert found.error == pytest.approx(math.sqrt(variance / 3 * 3))
    assert decline(figures, higher, error=0.1).error == pytest.approx(0.1 * math.sqrt(2)), "the smaller of the two"


def test_few_points_use_only_the_standard_errors_over_users() -> None:
    figures = np.asarray([0.5, 0.9, 0.2, 0.1])
    assert decline(figures, error=0.1).error == pytest.approx(0.1 * math.sqrt(2))
    assert not decline(figures, error=math.nan).clear
    assert not decline(figures, error=math.inf).clear


def test_a_single_jump_counts_as_noise() -> None:
    jump = np.asarray([0.5] * 10 + [0.4] * 8)
    assert not any(decline(jump[:end], error=math.nan).clear for end in range(1, 19))


def test_a_non_finite_figure_is_a_clear_decline_and_never_the_best() -> None:
    figures = np.asarray([math.nan, 0.2, 0.3, math.nan])
    found = decline(figures)
    assert (found.since, found.points, found.amount, found.clear) == (30, 1, math.inf, True)
    assert (decline(figures[:1]).since, decline(figures[:1]).clear) == (10, True)
    assert decline(figures[:3]).since == 30
    assert decline_as_json(found, "rmse", 30)["amount"] is None


def test_the_warning_states_amount_and_rounds() -> None:
    found = Decline(90, 0.4057, 300, 0.3597, 0.046, 0.021, 12)
    words = decline_in_words(found, "recall@10", 300)
    for part in ("recall@10", "0.046 worse at round 300 than at round 90", "0.4057 -> 0.3597", "0.021", "patience",
                 "weight_decay"):  # fmt: skip
        assert part in words
    assert decline_in_words(found, "recall@10", 90).endswith("Round 90 is kept")
    assert decline_in_words(found._replace(error=0.024), "recall@10", 300) == ""
    assert decline_in_words(None, "recall@10", 300) == ""
    assert decline_as_json(found, "recall@10", 300) == {**found._asdict(), "warning": words}
    assert decline_as_json(None, "recall@10", 300) == {}
    assert decline_from([], True) is None
