"""The schedule: the choice among candidates, with minimal engines and against an independent choice."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from statistics import NormalDist

import numpy as np
import pytest
from tests.sim import people
from tests.sim.conftest import Tiny
from tests.sim.level_engine import LEVELS, META, RATES, LevelEngine, users_at_level

from tegu.core.bundle.manifest import Knobs
from tegu.core.data.batch import Array, NumpyBatch
from tegu.core.data.tree import Tree
from tegu.core.metrics import METRICS, Metric
from tegu.sim.calibration.calibrate import calibrate
from tegu.sim.data.population import Population
from tegu.sim.data.trials import draw_trials
from tegu.sim.training.cross_fitting import Evaluator

MSE = METRICS["mse"]


def test_a_gradient_learner_tries_its_own_steps_and_a_single_one_at_several_sizes() -> None:
    learner = people.learner()
    own, tried = learner.knobs, learner.calibration.candidates
    rates = {steps: [each["lr"] / own["lr"] for each in tried if each["steps"] == steps] for steps in (1, own["steps"])}
    assert own["steps"] > 1
    assert rates[own["steps"]] == pytest.approx(list(RATES))
    assert rates[1] == pytest.approx([rate for rate in RATES if rate >= 1])
    moves = [each["steps"] * each["lr"] for each in tried]
    assert moves == sorted(moves)
    assert len(tried) == len(rates[1]) + len(RATES)


@pytest.mark.parametrize("rate", RATES)
def test_the_schedule_has_the_rate_that_fits(rate: float) -> None:
    (entry,) = calibrate(LevelEngine(), [Evaluator(META, users_at_level(2 * rate))], [3], MSE, 0)
    assert (entry.k, entry.knobs) == (3, {"steps": 2.0, "lr": rate})
    assert entry.gain == pytest.approx(4 * rate * rate)
    assert entry.gain_sd == pytest.approx(0, abs=1e-6)


def test_each_evaluator_uses_its_own_parameters_and_their_sums_choose() -> None:
    """Ten users are 2 away from 0, thirty 3 away from 1. A rate of 1.5 gains 3 and 9; a rate of 1 gains 4 and 8."""
    evaluators = [
        Evaluator(META, users_at_level(2.0, users=10)),
        Evaluator({"level": np.float32(1.0)}, users_at_level(4.0, users=30)),
    ]
    (entry,) = calibrate(LevelEngine(), evaluators, [3], MSE, 0)
    assert (entry.knobs["lr"], entry.gain) == (1.5, pytest.approx((10 * 3 + 30 * 9) / 40))
    assert entry.losses == pytest.approx([4.0] * 10 + [9.0] * 30)


def test_a_k_is_evaluated_by_the_users_with_enough_rows() -> None:
    evaluators = [
        Evaluator(META, users_at_level(2.0, users=90, rows=8)),
        Evaluator(META, users_at_level(8.0, users=90, rows=4)),
    ]
    entries = calibrate(LevelEngine(), evaluators, [3, 7], MSE, 0)
    assert [entry.knobs["lr"] for entry in entries] == [2.0, 1.0]
    assert [entry.harm.people for entry in entries if entry.harm] == [180, 90]


def test_no_adaptation_is_chosen_if_it_makes_predictions_worse() -> None:
    (entry,) = calibrate(LevelEngine(slope=-1), [Evaluator(META, users_at_level(2.0))], [3], MSE, 0)
    assert entry[:4] == (3, {"steps": 0.0, "lr": 1.0}, 0.0, 0.0)


def test_the_smaller_of_two_equal_steps_is_chosen() -> None:
    (entry,) = calibrate(LevelEngine(slope=0), [Evaluator(META, users_at_level(2.0))], [3], MSE, 0)
    assert entry.knobs["steps"] == 0
    between = users_at_level(3.5)  # 1.5 and 2.0 are equally far away
    (entry,) = calibrate(LevelEngine(), [Evaluator(META, between)], [3], MSE, 0)
    assert entry.knobs["lr"] == 1.5


def test_the_largest_mean_gain_is_not_chosen_if_it_harms_some_users() -> None:
    """A fifth of the users are at 0.4 and lose by a step to 8. The others are at 8 and gain much by it."""
    far, near = users_at_level(8.0, users=32), users_at_level(0.4, users=8)
    mixed = Population.from_arrays(
        np.concatenate([far.x, near.x]), np.concatenate([far.y, near.y]), np.repeat(np.arange(40), 8)
    )
    (entry,) = calibrate(LevelEngine(), [Evaluator(META, mixed)], [3], MSE, 0)
    assert entry.knobs == {"steps": 2.0, "lr": 0.25}  # a step to 0.5 harms no user, unlike the next one, to 1


def test_a_rate_that_diverges_never_wins() -> None:
    (entry,) = calibrate(LevelEngine(bad_above=2.5), [Evaluator(META, users_at_level(8.0))], [3], MSE, 0)
    assert entry.knobs["lr"] == 1.0


@pytest.mark.parametrize("metric", ["accuracy", "mse"])
def test_a_prediction_that_is_nan_never_wins(metric: str) -> None:
    """Also if all users have the first class, which is argmax of NaN."""

    class Poisoned(LevelEngine):
        def predict(self, meta: Tree, states: Tree, x: Array, rows: Sequence[int] | None = None) -> Array:
            level = states["level"][:, None, None]
            logits = np.concatenate([level - 3, np.zeros_like(level)], -1)
            outputs = np.where(level > 2.5, np.nan, logits if metric == "accuracy" else level)
            return np.broadcast_to(outputs, (*x.shape[:2], outputs.shape[-1]))

    population = users_at_level(8.0)
    if metric == "accuracy":
        population = Population.from_arrays(
            population.x, np.zeros(48, int), np.repeat(np.arange(6), 8), kind="classification"
        )
    (entry,) = calibrate(Poisoned(), [Evaluator(META, population)], [3], METRICS[metric], 0)
    assert entry.knobs["lr"] * entry.knobs["steps"] <= 2.5


def test_a_k_without_users_with_enough_rows_is_left_out() -> None:
    entries = calibrate(LevelEngine(), [Evaluator(META, users_at_level(2.0, rows=8))], [9, 7, 2, 8, 2], MSE, 0)
    assert [entry.k for entry in entries] == [2, 7]


def test_a_custom_metric() -> None:
    worst = Metric("worst", False, lambda outputs, y, seen: float(np.abs(outputs - y).max()))
    (entry,) = calibrate(LevelEngine(), [Evaluator(META, users_at_level(8.0))], [3], worst, 0)
    assert entry.knobs["lr"] == 4.0


def test_an_independent_loop_chooses_the_same(tiny: Tiny) -> None:
    population, meta = people.people(40, seed=5), tiny.learner.init(0)
    entries = calibrate(tiny.engines["onnx"], [Evaluator(meta, population)], [1, 3], METRICS["accuracy"], 7)
    for entry in entries:
        trials = draw_trials(population, entry.k, 7).trials

        def right(steps: int, lr: float, trials=trials) -> dict[int, list[float]]:
            shares: dict[int, list[float]] = {}
            for trial in trials:
                model = people.torch_adapted(meta, trial.support.x, trial.support.y, steps, lr, 1.0)
                hits = people.torch_outputs(model, trial.query.x).argmax(1) == trial.query.y
                shares.setdefault(trial.user, []).append(float(hits.mean()))
            return shares

        before, best, best_mean = right(0, 0.3), {**people.KNOBS, "steps": 0.0}, 0.0
        for rate in RATES:
            after = right(3, 0.3 * rate)
            gains = [[b - a for a, b in zip(before[user], after[user], strict=True)] for user in before]
            rows = [len(next(t for t in trials if t.user == user).query.y) for user in before]
            mean = float(np.mean(gains))
            if mean > best_mean + 1e-12 and _hurt(gains, [1 / n for n in rows]) <= 0.05:
                best, best_mean = {"steps": 3.0, "lr": 0.3 * rate, "prior": 1.0}, mean
        assert entry.knobs == pytest.approx(best)


def _hurt(gains: list[list[float]], tolerances: list[float]) -> float:
    chances = []
    for each, tolerance in zip(gains, tolerances, strict=True):
        error = float(np.std(each, ddof=1)) / math.sqrt(len(each))
        chances.append(NormalDist(float(np.mean(each)), max(error, tolerance / 4)).cdf(-tolerance))
    rate = float(np.mean(chances))
    return rate + 0.7 * math.sqrt(rate * (1 - rate) / len(gains))


class Corrector(LevelEngine):
    """Predicts `weight` for all users; the evidence is 4 if the first support target is positive, and -4 otherwise."""

    def adapt(self, meta: Tree, supports: NumpyBatch, knobs: Knobs, noise: Array | None = None) -> Tree:
        sign = np.sign(supports.y[:, 0, 0])
        moved = np.float32(knobs["weight"] if knobs["steps"] else 0.0)
        return {"level": np.full(len(sign), moved, np.float32), "loo_improvement": (4 * sign).astype(np.float32)}


CORRECTION = {
    "steps": 1.0,
    "weight": 0.5,
    "guard": 0.0,
    "floor": 0.0,
    "intercept": 0.0,
    "slope": 0.0,
    "residual_sd": 1.0,
}
MANIFEST = replace(
    LEVELS, knobs=CORRECTION, unadapted={**CORRECTION, "steps": 0.0}, candidates=(CORRECTION,), guarded=True
)


def test_a_guard_protects_users_with_negative_evidence() -> None:
    levels = np.repeat([1.0] * 30 + [-1.0] * 10, 8).astype(np.float32)
    mixed = Population.from_arrays(
        np.arange(320, dtype=np.float32)[:, None], levels, np.repeat(np.arange(40), 8), kind="regression"
    )
    (entry,) = calibrate(Corrector(MANIFEST), [Evaluator(META, mixed)], [3], MSE, 0)
    assert entry.knobs["guard"] > 0
    assert entry.knobs["weight"] == 1.0
    # Three quarters gain 1 at evidence 4, the others lose 3 at evidence -4.
    found = [entry.knobs[name] for name in ("intercept", "slope", "residual_sd")]
    assert found == pytest.approx([-1.0, 0.5, 0.0], abs=1e-5)
    assert entry.gain == pytest.approx(0.75)


def test_equal_users_need_no_guard() -> None:
    (entry,) = calibrate(Corrector(MANIFEST), [Evaluator(META, users_at_level(1.0, users=20))], [3], MSE, 0)
    assert (entry.knobs["weight"], entry.gain) == (1.0, pytest.approx(1.0))


def test_a_floor_is_chosen_if_a_small_part_of_the_correction_helps_all_users() -> None:
    """Users with negative evidence need a third of the correction, which a guard alone does not give them."""
    levels = np.repeat([1.0] * 30 + [0.35] * 10, 8).astype(np.float32)
    firm = Population.from_arrays(
        np.arange(320, dtype=np.float32)[:, None], levels, np.repeat(np.arange(40), 8), kind="regression"
    )
    (entry,) = calibrate(HighAndLow(MANIFEST), [Evaluator(META, firm)], [3], MSE, 0)
    assert (entry.knobs["guard"] > 0, entry.knobs["floor"]) == (True, 0.3)
    assert entry.gain == pytest.approx((30 * 1.0 + 10 * (0.35**2 - 0.05**2)) / 40, abs=1e-5)


class HighAndLow(LevelEngine):
    """Predicts `weight` for all users; the evidence is 4 for users at level 1, and -4 for the others."""

    def adapt(self, meta: Tree, supports: NumpyBatch, knobs: Knobs, noise: Array | None = None) -> Tree:
        high = np.where(supports.y[:, 0, 0] > 0.5, np.float32(4.0), np.float32(-4.0))
        moved = np.float32(knobs["weight"] if knobs["steps"] else 0.0)
        return {"level": np.full(len(high), moved, np.float32), "loo_improvement": high}


def test_a_correction_is_computed_once_for_all_its_blends() -> None:
    class Counting(Corrector):
        adapted: tuple[dict[str, float], ...] = ()

        def adapt(self, meta: Tree, supports: NumpyBatch, knobs: Knobs, noise: Array | None = None) -> Tree:
            self.adapted = (*self.adapted, dict(knobs))
            return super().adapt(meta, supports, knobs, noise)

    engine = Counting(replace(MANIFEST, candidates=({**CORRECTION, "ridge": 1.0}, {**CORRECTION, "ridge": 2.0})))
    calibrate(engine, [Evaluator(META, users_at_level(1.0, users=20))], [3], MSE, 0)
    assert sum(bool(knobs["steps"]) for knobs in engine.adapted) == 2 * 3, (
        "for the gain model, and for the gains of each half"
    )
