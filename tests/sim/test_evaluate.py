"""The curve's entries, the schedule and the learning curve, on engines and numbers made by hand."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import pytest
from tests.sim import people
from tests.sim.conftest import Tiny

from tegu.core.batch import Array, NumpyBatch
from tegu.core.manifest import Knobs
from tegu.core.tree import Tree
from tegu.sim.calibrate import RATES, calibrate, candidates
from tegu.sim.cohort import Cohort
from tegu.sim.evaluate import adapted, curve_entry, score
from tegu.sim.learning_curve import POINTS, LearningCurve, LearningPoint
from tegu.sim.metrics import METRICS, Metric
from tegu.sim.population import Population
from tegu.sim.train import Progress
from tegu.sim.trials import Trials, draw_trials

META: Tree = {"level": np.zeros((), np.float32)}


class Stepper:
    """Predicts `meta + lr * steps * slope` for every row: how far to go is all that there is to choose."""

    def __init__(self, slope: float = 1.0, bad_above: float = math.inf, users: Sequence[int] | None = None) -> None:
        self.slope, self.bad_above, self.users = slope, bad_above, users

    def sum_updates(self, meta: Tree, cohort: Cohort, limit: float) -> Tree:
        raise NotImplementedError

    def adapt(self, meta: Tree, supports: NumpyBatch, knobs: Knobs) -> Tree:
        far = knobs["steps"] * knobs["lr"]
        value = np.float32(math.nan if far > self.bad_above else meta["level"] + far * self.slope)
        states = np.full(len(supports.mask), value, np.float32)
        if self.users is not None:
            initial = np.full_like(states, meta["level"])
            states = np.where(np.isin(np.arange(len(states)), self.users), states, initial)
        return {"level": states}

    def predict(self, meta: Tree, states: Tree, x: Array) -> Array:
        return np.broadcast_to(states["level"][:, None, None], (*x.shape[:2], 1))


def at_level(level: float, users: int = 6, rows: int = 8) -> Population:
    """Users all of whose targets are `level`; inputs differ, since equal ones belong together."""
    x = np.arange(users * rows, dtype=np.float32)[:, None]
    return Population.from_arrays(x, np.full(len(x), np.float32(level)), np.repeat(np.arange(users), rows))


KNOBS = {"steps": 2.0, "lr": 1.0}
MSE = METRICS["mse"]


# --- an entry of the curve ----------------------------------------------------------------------------------------


def test_an_entry_by_hand() -> None:
    before = np.linspace(0.5, 0.69, 20)
    gain = np.asarray([-0.3, -0.1, 0.0, -1e-12, *[0.1] * 16])
    entry = curve_entry(
        5, METRICS["accuracy"], {"personalised": before + gain, "flat": np.ones(20), "initialisation": before}
    )
    assert entry.pop("baselines") == {"flat": 1.0}
    assert (entry.pop("k"), entry.pop("users")) == (5, 20)
    assert entry == {
        "initialisation": pytest.approx(0.595),
        "personalised": pytest.approx(0.595 + (1.6 - 0.4) / 20),
        "hurt": 2 / 20,  # rounding is not harm
        "worst_decile_gain": pytest.approx(-0.2),  # the mean of the worst two of twenty
    }


def test_lower_is_better_turns_the_sign() -> None:
    scores = {"initialisation": np.asarray([1.0, 2.0, 3.0]), "personalised": np.asarray([0.5, 2.5, 1.0])}
    entry = curve_entry(1, MSE, scores)
    assert entry["hurt"] == pytest.approx(1 / 3)
    assert entry["worst_decile_gain"] == -0.5
    assert all(type(value) in (int, float, dict) for value in entry.values()), "JSON has no numpy numbers"


# --- whose state is not finite ------------------------------------------------------------------------------------


def test_whoever_diverges_keeps_the_initialisation_as_on_a_device() -> None:
    class Some(Stepper):
        def adapt(self, meta: Tree, supports: NumpyBatch, knobs: Knobs) -> Tree:
            states = super().adapt(meta, supports, knobs)["level"].copy()
            if knobs["steps"]:
                states[1] = math.inf
            return {"level": states}

    trials = draw_trials(at_level(2.0), 3, 0, draws=1)
    outputs = adapted(Some(), META, KNOBS)(trials)
    assert [float(output[0, 0]) for output in outputs] == [2, 0, 2, 2, 2, 2]


# --- the schedule -------------------------------------------------------------------------------------------------


def test_candidates_begin_with_no_step() -> None:
    first, *others = candidates(KNOBS)
    assert first == {"steps": 0.0, "lr": 1.0}
    assert [option["lr"] for option in others] == list(RATES)
    assert {option["steps"] for option in others} == {2.0}


@pytest.mark.parametrize("rate", RATES)
def test_the_schedule_has_the_rate_that_fits(rate: float) -> None:
    (entry,) = calibrate(Stepper(), META, KNOBS, at_level(2 * rate), [3], MSE, 0)
    assert entry == (3, {"steps": 2.0, "lr": rate})


def test_no_step_is_chosen_where_adapting_hurts() -> None:
    (entry,) = calibrate(Stepper(slope=-1), META, KNOBS, at_level(2.0), [3], MSE, 0)
    assert entry.knobs == {"steps": 0.0, "lr": 1.0}


def test_the_gentler_of_two_equals_is_chosen() -> None:
    (entry,) = calibrate(Stepper(slope=0), META, KNOBS, at_level(2.0), [3], MSE, 0)
    assert entry.knobs["steps"] == 0
    (entry,) = calibrate(Stepper(), META, KNOBS, at_level(3.5), [3], MSE, 0)  # 1.5 and 2.0 are as far from it
    assert entry.knobs["lr"] == 1.5


def test_a_rate_that_diverges_never_wins() -> None:
    (entry,) = calibrate(Stepper(bad_above=2.5), META, KNOBS, at_level(8.0), [3], MSE, 0)
    assert entry.knobs["lr"] == 1.0


@pytest.mark.parametrize("metric", ["accuracy", "mse"])
def test_a_prediction_that_is_nan_never_wins(metric: str) -> None:
    """Also where the first class, which argmax makes of NaN, is everybody's."""

    class Poisoned(Stepper):
        def predict(self, meta: Tree, states: Tree, x: Array) -> Array:
            level = states["level"][:, None, None]
            logits = np.concatenate([level - 3, np.zeros_like(level)], -1)
            outputs = np.where(level > 2.5, np.nan, logits if metric == "accuracy" else level)
            return np.broadcast_to(outputs, (*x.shape[:2], outputs.shape[-1]))

    population = at_level(8.0)
    if metric == "accuracy":
        population = Population.from_arrays(population.x, np.zeros(48, int), np.repeat(np.arange(6), 8))
    (entry,) = calibrate(Poisoned(), META, KNOBS, population, [3], METRICS[metric], 0)
    assert entry.knobs["lr"] * entry.knobs["steps"] <= 2.5


def test_a_k_that_nobody_has_the_rows_for_is_left_out() -> None:
    entries = calibrate(Stepper(), META, KNOBS, at_level(2.0, rows=8), [9, 7, 2, 8, 2], MSE, 0)
    assert [entry.k for entry in entries] == [2, 7]


def test_an_independent_loop_chooses_the_same(tiny: Tiny) -> None:
    population, meta = people.people(12, seed=5), tiny.learner.init(0)
    chosen = {entry.k: entry.knobs for entry in calibrate(
        tiny.engines["onnx"], meta, people.KNOBS, population, [1, 3], METRICS["accuracy"], 7)}  # fmt: skip
    for k in (1, 3):
        trials = draw_trials(population, k, 7)
        best, best_mean = people.KNOBS, -1.0
        for steps, lr in [(0, 0.3), *((3, 0.3 * rate) for rate in RATES)]:
            shares: dict[int, list[float]] = {}
            for trial in trials.trials:
                model = people.torch_adapted(meta, trial.support.x, trial.support.y, steps, lr, 1.0)
                right = people.torch_outputs(model, trial.query.x).argmax(1) == trial.query.y
                shares.setdefault(trial.user, []).append(right.mean())
            mean = float(np.mean([np.mean(share) for share in shares.values()]))
            if mean > best_mean + 1e-12:
                best, best_mean = {"steps": float(steps), "lr": lr, "prior": 1.0}, mean
        assert chosen[k] == pytest.approx(best)


# --- the learning curve -------------------------------------------------------------------------------------------


def watch(rounds: int, done: int = 0) -> tuple[LearningCurve, list[tuple[int, LearningPoint]]]:
    told: list[tuple[int, LearningPoint]] = []
    trials = draw_trials(at_level(3.0), 3, 0, draws=1)
    curve = LearningCurve(Stepper(), KNOBS, trials, MSE, lambda p, point: told.append((p.round, point)))
    for number in range(done + 1, rounds + 1):
        curve(Progress(number, rounds, 0, 0.0, {"level": np.float32(number / rounds)}))
    return curve, told


@pytest.mark.parametrize(("rounds", "every"), [(1, 1), (7, 1), (19, 1), (40, 2), (47, 2), (300, 15), (1500, 75)])
def test_the_parameters_are_judged_about_twenty_times(rounds: int, every: int) -> None:
    curve, told = watch(rounds)
    assert [point.round for point in curve.points] == sorted({1, *range(every, rounds + 1, every), rounds})
    assert len(curve.points) <= 2 * POINTS + 1
    assert [number for number, _ in told] == list(range(1, rounds + 1))
    assert told[-1][1] == curve.points[-1]
    assert curve.seconds > 0


def test_a_point_is_before_and_after_adapting() -> None:
    curve, _ = watch(4)
    for point in curve.points:
        level = point.round / 4
        assert point.initialisation == pytest.approx((3 - level) ** 2)
        assert point.personalised == pytest.approx((1 - level) ** 2)


def test_a_resumed_run_has_a_point_at_once() -> None:
    curve, _ = watch(300, done=151)
    assert [point.round for point in curve.points] == [152, *range(165, 301, 15)]


def test_score_is_per_user(tiny: Tiny) -> None:
    def perfect(trials: Trials) -> list[Array]:
        return [np.eye(3)[trial.query.y] for trial in trials.trials]

    trials = draw_trials(people.people(7), 3, 0)
    assert score(perfect, trials, METRICS["accuracy"]).tolist() == [1.0] * 7


def test_a_metric_of_ones_own() -> None:
    worst = Metric("worst", False, lambda outputs, y, seen: float(np.abs(outputs - y).max()))
    (entry,) = calibrate(Stepper(), META, KNOBS, at_level(8.0), [3], worst, 0)
    assert entry.knobs["lr"] == 4.0
