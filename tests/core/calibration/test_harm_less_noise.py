"""The harm ratio less noise against the truth: people's true gains are known, and query rows are few or many."""

from __future__ import annotations

import math

import numpy as np
import pytest

from tegu.core.calibration.harm import GainSums, harm_ratio_less_noise
from tegu.core.calibration.query_noise import QueryRows, squares_less_noise
from tegu.core.data.batch import Array

PEOPLE, TIMES, LIMIT = 200, 40, 0.2
KINDS = ("all gain", "normal", "sparse", "rare losses", "two kinds", "mostly harm", "nothing")


def true_gains(kind: str, rng: np.random.Generator, people: int) -> Array:
    chance = rng.random(people)
    return {
        "all gain": lambda: rng.gamma(2, 0.05, people),
        "normal": lambda: rng.normal(0.05, 0.078, people),
        "sparse": lambda: np.where(
            chance < 0.3, rng.gamma(2, 0.15, people), np.where(chance < 0.4, -rng.gamma(2, 0.07, people), 0.0)
        ),
        "rare losses": lambda: np.where(chance < 0.95, 0.05, -0.4),
        "two kinds": lambda: np.where(chance < 0.8, 0.1, -0.1),
        "mostly harm": lambda: np.where(chance < 0.5, 0.15, -0.1),
        "nothing": lambda: rng.normal(0, 0.08, people),
    }[kind]()


def query(metric: str, gains: Array, number: int, rng: np.random.Generator) -> Array:
    """Gains of query rows, `[people, rows]`, with these means."""
    shape = (len(gains), number)
    if metric == "squared error":  # a prediction moves by 0.3, and rows have errors of deviation 1
        centre = (gains + 0.09) / 0.6
        return 0.6 * (centre[:, None] + rng.normal(size=shape)) - 0.09
    hits = number / min(10, number) if metric == "recall" else 1.0  # ten hits at most count
    changed = np.maximum(np.abs(gains), np.where(gains != 0, 0.25, 0.02)) / hits
    better = (1 + gains / hits / changed) / 2
    turns = np.where(rng.random(shape) < better[:, None], hits, -hits)
    return np.where(rng.random(shape) < changed[:, None], turns, 0.0)


def sums_of(rows: Array) -> GainSums:
    people, number = rows.shape
    person = np.repeat(np.arange(people), number)
    layout = QueryRows(
        person,
        np.full(people, number),
        np.full(rows.size, 1 / number),
        np.arange(rows.size),
        person,
        np.full(people, 1 / number),
    )
    gain, lasting = rows.mean(1), squares_less_noise(layout, rows.reshape(-1))
    parts = gain, np.square(gain), np.maximum(-gain, 0), lasting, np.square(lasting)
    return GainSums(float(people), *(float(part.sum()) for part in parts))


def observed(sums: GainSums) -> float:
    return sums.lost / (sums.lost + sums.gain) if sums.lost + sums.gain > 0 else math.inf


def populations(kind: str, metric: str, number: int) -> list[GainSums]:
    found = []
    for time in range(TIMES):
        rng = np.random.default_rng([time, number])
        found.append(sums_of(query(metric, true_gains(kind, rng, PEOPLE), number, rng)))
    return found


def truth(kind: str) -> float:
    gains = true_gains(kind, np.random.default_rng(0), 200_000)
    return float(np.maximum(-gains, 0).sum() / np.maximum(gains, 0).sum())


@pytest.mark.parametrize("metric", ["accuracy", "squared error", "recall"])
@pytest.mark.parametrize("kind", ["all gain", "normal", "sparse", "rare losses", "mostly harm"])
def test_little_bias_however_few_rows(kind: str, metric: str) -> None:
    for number in (3, 5, 10, 30):
        sums = populations(kind, metric, number)
        middle = float(np.median([harm_ratio_less_noise(each) for each in sums]))
        as_seen = float(np.median([observed(each) for each in sums]))
        wrong = middle - truth(kind)
        assert wrong > -0.15, number
        assert wrong < max(0.15, 2 / 3 * (as_seen - truth(kind))), "a few real gains among many are the hardest shape"
        assert number > 10 or as_seen > middle + 0.03, "what noise adds"


@pytest.mark.parametrize("kind", KINDS)
def test_many_rows_give_the_observed_ratio(kind: str) -> None:
    for sums in populations(kind, "accuracy", 1000)[:5]:
        gained = sums.gain + sums.lost
        for errors in (0.0, 1.0):
            kept = harm_ratio_less_noise(sums, errors) * gained if math.isfinite(observed(sums)) else sums.lost
            assert kept == pytest.approx(sums.lost, abs=0.06 * gained)
    quiet = sums_of(np.repeat(true_gains(kind, np.random.default_rng(1), PEOPLE)[:, None], 50, 1))
    assert harm_ratio_less_noise(quiet) == pytest.approx(observed(quiet))


@pytest.mark.parametrize("metric", ["accuracy", "squared error", "recall"])
@pytest.mark.parametrize("kind", ["rare losses", "mostly harm", "nothing"])
def test_what_truly_hurts_is_seldom_allowed(kind: str, metric: str) -> None:
    """A candidate must gain significantly too. True ratios are 0.42 to 1."""
    assert truth(kind) > 2 * LIMIT
    for number in (3, 5, 10, 30, 100, 300):
        sums = populations(kind, metric, number)
        gains = [each.gain > 1.645 * math.sqrt(each.squared - each.gain**2 / PEOPLE) for each in sums]
        allowed = [harm_ratio_less_noise(each, 1.0) <= LIMIT for each in sums]
        assert np.mean(np.asarray(gains) & np.asarray(allowed)) <= 0.15, number


def test_what_helps_is_allowed_though_few_rows_are_noisy() -> None:
    for number, least in ((3, 0.6), (5, 0.8), (10, 0.95)):
        sums = populations("all gain", "accuracy", number)
        assert np.mean([harm_ratio_less_noise(each, 1.0) <= LIMIT for each in sums]) >= least
    assert np.mean([observed(each) <= LIMIT for each in populations("all gain", "accuracy", 3)]) < 0.1


def test_nobody_gains() -> None:
    assert harm_ratio_less_noise(GainSums(2.0, -1.0, 0.5, 1.0, 0.5, 0.125)) == math.inf
    assert harm_ratio_less_noise(GainSums(2.0, 0.0, 0.0, 0.0, 0.0, 0.0)) == 0
