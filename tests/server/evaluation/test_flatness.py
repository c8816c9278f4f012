"""When validation figures no longer rise, and which round is the best."""

from __future__ import annotations

import math

import numpy as np
import pytest

from tegu.server.evaluation.early_stopping import ValidationRule
from tegu.server.evaluation.flatness import is_comparison_round, is_flat, is_growing_round, kept_round
from tegu.server.evaluation.validation import Validation

ROUNDS = [number for number in range(1, 1001) if number == 1 or is_growing_round(number)]


def curve(figure_at: dict[int, float], *, gain: float = 0.0) -> list[Validation]:
    return [Validation(number, figure, figure + gain) for number, figure in figure_at.items()]


def stopped_after(figures: dict[int, float], *, higher_is_better: bool = True) -> int | None:
    """The first round at which the figures are flat."""
    points = curve(figures)
    return next((points[end].round for end in range(len(points)) if is_flat(points[: end + 1], higher_is_better)), None)


def test_distances_between_validations_grow_by_a_tenth() -> None:
    later = np.asarray(ROUNDS[1:])
    assert later[0] == 50
    assert (np.diff(later) <= np.maximum(1, 0.2 * later[:-1])).all()
    assert 29 <= len(later) <= 34
    assert later[-1] > 900
    ratios = later[1:] / later[:-1]
    assert np.allclose(ratios[later[1:] > 100], 1.1, atol=0.012)


def test_one_validation_in_four_includes_the_comparison_group() -> None:
    compared = [number for number in range(1, 1001) if is_comparison_round(number)]
    assert compared == ROUNDS[1::4]
    rule = ValidationRule("growing", until_flat=True)
    assert [number for number in ROUNDS if rule.compares(number)] == compared
    assert ValidationRule(3).compares(7), "other distances are the plan's own choice"


def test_a_figure_that_rises_is_never_flat() -> None:
    assert stopped_after({number: math.log(number) for number in ROUNDS}) is None


def test_a_figure_that_falls_from_its_peak_is_flat_after_twice_as_many_rounds() -> None:
    figures = {number: -((math.log(number / 100)) ** 2) for number in ROUNDS}
    stopped = stopped_after(figures)
    assert stopped is not None
    assert 200 <= stopped <= 280, "the mean of five validations lags behind the peak"
    best = kept_round(curve(figures), True)
    assert best is not None
    assert 100 <= best <= 140
    errors = {number: -figure for number, figure in figures.items()}
    assert stopped_after(errors, higher_is_better=False) == stopped


def test_a_run_ends_once_the_best_round_lies_in_the_first_six_tenths() -> None:
    figures = {number: -((math.log(number / 100)) ** 2) for number in ROUNDS}
    later = [number for number in ROUNDS if number >= 50]
    values = [figures[number] for number in later]
    smoothed = [np.mean(values[max(0, end - 4) : end + 1]) for end in range(len(values))]
    best = later[int(np.argmax(smoothed))]
    assert stopped_after(figures) == next(number for number in later if number >= best / 0.6)


def test_noise_on_a_rising_figure_rarely_ends_it() -> None:
    rng = np.random.default_rng(0)
    ended = [
        stopped_after({number: 0.05 * math.log(number) + 0.01 * rng.normal() for number in ROUNDS}) for _ in range(50)
    ]
    assert ended.count(None) == 50


def test_the_figure_is_that_of_both() -> None:
    """A gain that falls while the initialisation rises as much is no change."""
    points = [Validation(number, 0.1 * step, 1 - 0.1 * step) for step, number in enumerate(ROUNDS)][:25]
    assert points[-1].round > 400
    assert is_flat(points, True)
    assert not is_flat([each._replace(personalised=1.0) for each in points], True)


def test_the_first_fifty_rounds_end_nothing() -> None:
    stopped = stopped_after({number: -number for number in ROUNDS})
    assert stopped is not None
    assert 100 <= stopped <= 130


def test_a_fall_within_noise_keeps_later_rounds() -> None:
    """Steps of the noise have a deviation of about 0.014; half of it is a fall that may be luck."""
    rng = np.random.default_rng(0)
    noise = {number: 0.01 * rng.normal() for number in ROUNDS}

    def kept(fall: float) -> int | None:
        return kept_round(curve({number: noise[number] - fall * (number > 100) for number in ROUNDS}), True)

    within, clear = kept(0.0), kept(0.1)
    assert within is not None
    assert clear is not None
    assert within > 300
    assert clear <= 104


def test_what_is_not_finite_is_the_worst() -> None:
    points = curve(dict.fromkeys(ROUNDS[:12], math.nan))
    assert is_flat(points, False)
    assert kept_round([], True) is None
    assert not is_flat([], True)


def test_a_rule_until_flat_keeps_the_best_rounds_parameters() -> None:
    rule = ValidationRule("growing", until_flat=True)
    assert rule.keeps_best
    assert [number for number in range(1, 1001) if rule.includes(number, 1000)] == [*ROUNDS, 1000]


@pytest.mark.parametrize("every", [0, "growing", 3])
def test_rules_to_stop_need_validations(every: int) -> None:
    if every:
        ValidationRule(every, until_flat=True)
        return
    with pytest.raises(Exception, match="until_flat is True"):
        ValidationRule(0, until_flat=True)
