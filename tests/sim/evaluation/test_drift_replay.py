"""The replay gives a device's results; notified devices recover first, and recency weights recover without notice."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from torch import nn

from tegu.client import Personalizer
from tegu.core.bundle.file import Bundle
from tegu.core.data.batch import Array
from tegu.core.metrics import METRICS, Metric
from tegu.core.sampling.episode import EpisodeRule
from tegu.learners.algorithms.residual_correction import residual_correction
from tegu.server.training.calibration_plan import CalibrationPlan
from tegu.server.training.outer_optimiser import OuterRule
from tegu.server.training.plan import CohortPlan, TrainingPlan
from tegu.sim.data.streams import Moment, Streams
from tegu.sim.evaluation.drift_replay import HALF_LIVES, Strategy, recovery_times, replay, replay_drift
from tegu.sim.experiments.changing_sines import changing_sine_streams, population_before_change
from tegu.sim.run import Run, run_plan
from tegu.sim.training.cross_fitting import Evaluator

pytestmark = pytest.mark.xdist_group("drift")  # its run is trained once
CHANGE, TIMES = 20, 40
STREAMS = changing_sine_streams(200, seed=0, before=CHANGE, after=TIMES - CHANGE)


@pytest.fixture(scope="module")
def run() -> Run:
    """A short run of `changing_sines`."""
    population = population_before_change(STREAMS)
    network = nn.Sequential(nn.Linear(1, 32), nn.Tanh(), nn.Linear(32, 32), nn.Tanh(), nn.Linear(32, 1))
    learner = residual_correction(network, population.spec, steps=10, lr=0.02, minibatches=5, init="fresh")
    plan = TrainingPlan(
        rounds=150,
        cohort=CohortPlan(20),
        outer=OuterRule("Adam", 0.01, decay=True),
        episodes=EpisodeRule(10, 10),
        calibration=CalibrationPlan(folds=0, ks=(1, 2, 5, 10)),
    )
    return run_plan(population, learner, plan)


@pytest.fixture(scope="module")
def found(run: Run) -> dict[str, Any]:
    return replay_drift(run, STREAMS)


def on_a_device(bundle: Bundle, streams: Streams, person: int, strategy: Strategy) -> list[float]:
    """Squared errors at all moments, by the client, which adapts after each interaction."""
    x, y, query_x = streams.x[person], streams.y[person], streams.query_x[person]
    old, new = streams.query_y[person]
    errors = []
    with Personalizer.open(bundle, half_life=strategy.half_life) as p:

        def record_error(targets: Array) -> None:
            errors.append(float(np.square(p.predict(query_x) - targets, dtype=np.float64).mean()))

        for time in range(len(x) + 1):
            if time == streams.change:
                record_error(old)
                if strategy.notified:
                    p.forget()
            if time >= streams.change:
                record_error(new)
            elif time:
                record_error(old)
            if time < len(x):
                p.observe(x[time], y[time])
                if strategy.adapts:
                    p.adapt()
    return errors


@pytest.mark.parametrize("window", [256, 6])
@pytest.mark.parametrize(
    "strategy",
    [Strategy(), Strategy(2.5), Strategy(notified=True), Strategy(5.0, notified=True), Strategy(adapts=False)],
)
def test_the_replay_is_what_a_device_does(run: Run, strategy: Strategy, window: int) -> None:
    bundle = replace(run.bundle, manifest=replace(run.bundle.manifest, window=window))
    users = STREAMS.of(STREAMS.users[[3, 111]])
    replayed = replay(replace(run, bundle=bundle), users, strategy, users.moments())
    for person, errors in enumerate(replayed):
        np.testing.assert_allclose(errors, on_a_device(bundle, users, person, strategy), rtol=1e-3, atol=1e-4)


def mean(found: dict[str, Any], name: str, since: int, changed: bool = True) -> float:
    entry = next(e for e in found["curve"] if (e["interactions"], e["changed"]) == (CHANGE + since, changed))
    return float(entry["figures"][name])


def test_strategies_recover_in_the_expected_order(found: dict[str, Any]) -> None:
    """Measured ten and twenty interactions after the change: 2.51 and 1.49 with no recency, 1.03 and 0.58 with it.

    Notified of the change: 0.62 and 0.48. With six interactions or fewer the two differ little (1.77 and 1.64).
    """
    for since in range(3, TIMES - CHANGE + 1):
        assert mean(found, "recency", since) < 0.8 * mean(found, "no recency", since)
    for since in (10, 20):
        assert mean(found, "resetting", since) < mean(found, "recency", since)
        assert mean(found, "recency", since) < 0.6 * mean(found, "no recency", since)
    assert mean(found, "no recency", 0) > 1.2 * mean(found, "initialisation", 0), "the old preferences mislead"
    steps = found["recovered"]
    assert steps["no recency"] is steps["initialisation"] is None
    assert 0 < steps["resetting"] < steps["recency"] < TIMES - CHANGE
    entry = found["curve"][-1]
    assert 0 < entry["gain_low"] < entry["gain"] < entry["gain_high"]


def test_recency_costs_little_without_a_change(found: dict[str, Any]) -> None:
    """Measured: 0.44 with no recency and 0.65 with it, of 3.64; with seed 1 0.41 and 0.58, of 3.18."""
    figures = found["steady"]["figures"]
    assert figures["resetting"] == figures["no recency"]
    assert figures["no recency"] < figures["recency"] < 0.25 * figures["initialisation"]
    cost = figures["recency"] - figures["no recency"]
    assert cost < 0.1 * (figures["initialisation"] - figures["no recency"])
    assert found["steady"]["gain"] == pytest.approx(-cost)


def test_the_end_of_an_unchanged_stream(run: Run, found: dict[str, Any]) -> None:
    users = STREAMS.of(run.split.heldout.users)
    last = [on_a_device(run.bundle, replace(users, y=users.steady_y, change=TIMES), person, Strategy())[TIMES - 1]
            for person in range(len(users.users))]  # fmt: skip
    assert found["steady"]["figures"]["no recency"] == pytest.approx(np.mean(last), rel=1e-3)


def test_the_half_life_has_the_best_mean_metric_of_calibration_users(run: Run, found: dict[str, Any]) -> None:
    users = STREAMS.of(run.split.calibration.users)
    figures = [float(replay(run, users, Strategy(half_life), users.moments()).mean()) for half_life in HALF_LIVES]
    assert found["half_lives"] == [
        {"half_life": half_life, "figure": figure} for half_life, figure in zip(HALF_LIVES, figures, strict=True)
    ]
    assert found["chosen"] == [HALF_LIVES[int(np.argmin(figures))]]
    assert HALF_LIVES[0] is None
    assert (found["people"], found["change"], len(found["curve"])) == (40, CHANGE, TIMES + 1)


def test_higher_is_better_turns_the_sign(run: Run, found: dict[str, Any]) -> None:
    mse = METRICS["mse"]
    turned = replace(run, metric=Metric("mse, negative", True, lambda *given: -mse.score(*given)))
    other = replay_drift(turned, STREAMS)
    assert (other["chosen"], other["recovered"]) == (found["chosen"], found["recovered"])
    for entry, twin in zip(found["curve"], other["curve"], strict=True):
        assert twin["figures"] == {name: -figure for name, figure in entry["figures"].items()}
        assert twin["gain"] == entry["gain"]


def test_a_second_replay_gives_the_same_result(run: Run, found: dict[str, Any]) -> None:
    assert replay_drift(run, STREAMS) == found


# --- moments and recovery, by hand --------------------------------------------------------------------------------


def test_moments_are_one_for_each_interaction_and_two_at_the_change() -> None:
    moments = changing_sine_streams(2, seed=0, before=3, after=2).moments()
    assert moments == [(1, False), (2, False), (3, False), (3, True), (4, True), (5, True)]
    assert moments[0] == Moment(interactions=1, changed=False)


def test_streams_of_some_users_are_their_rows() -> None:
    streams = replace(changing_sine_streams(5, seed=0, before=3, after=2), users=np.asarray([2, 3, 5, 7, 11]))
    some = streams.of(np.asarray([3, 11]))
    assert some.users.tolist() == [3, 11]
    for name in ("x", "y", "steady_y", "query_x", "query_y"):
        np.testing.assert_array_equal(getattr(some, name), getattr(streams, name)[[1, 4]])
    assert some.change == 3


def curve_of(before: float, **after: list[float]) -> list[dict[str, Any]]:
    """One moment before the change, equal for all strategies, and one after it for each figure."""
    figures = [
        dict.fromkeys(after, before),
        *(dict(zip(after, at, strict=True)) for at in zip(*after.values(), strict=True)),
    ]
    return [{"changed": place > 0, "figures": each} for place, each in enumerate(figures)]


@pytest.mark.parametrize("sign", [1, -1])
def test_recovery_means_at_most_a_tenth_of_the_cost_is_left_to_the_end(sign: int) -> None:
    """The change costs 10 from 1, so that up to 2 counts as recovered, but not if a later figure exceeds it."""
    curve = curve_of(
        sign * 1.0,
        **{
            "no recency": [sign * v for v in (11.0, 9.0, 7.0, 5.0)],
            "at once": [sign * v for v in (2.0, 1.5, 0.5, 1.9)],
            "later": [sign * v for v in (11.0, 2.1, 2.0, 1.0)],
            "for good": [sign * v for v in (11.0, 1.0, 2.1, 1.0)],
            "too late": [sign * v for v in (11.0, 1.0, 1.0, 2.1)],
        },
    )
    assert recovery_times(curve) == {"no recency": None, "at once": 0, "later": 2, "for good": 3, "too late": None}


def test_the_half_life_is_chosen_on_users_who_did_not_train_the_parameters(run: Run) -> None:
    """Each half of the calibration users evaluates other parameters, as with cross-fitting."""
    (evaluator,) = run.fold_evaluators
    half, other = len(evaluator.population) // 2, run.learner.init(7)
    first, second = (
        evaluator.population.subset(np.arange(half)),
        evaluator.population.subset(np.arange(half, len(evaluator.population))),
    )
    crossed = replace(run, fold_evaluators=(Evaluator(evaluator.meta, first), Evaluator(other, second)))
    figures = {each["half_life"]: each["figure"] for each in replay_drift(crossed, STREAMS)["half_lives"]}
    moments = STREAMS.moments()
    for half_life in (None, 5.0):
        parts = [
            replay(
                replace(run, bundle=replace(run.bundle, meta=meta)),
                STREAMS.of(users.users),
                Strategy(half_life),
                moments,
            )
            for meta, users in crossed.fold_evaluators
        ]
        assert figures[half_life] == pytest.approx(float(np.concatenate(parts).mean()))
        trained = replay(run, STREAMS.of(second.users), Strategy(half_life), moments)
        assert abs(trained.mean() - parts[1].mean()) > 0.05, "the other parameters give other figures"
