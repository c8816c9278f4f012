"""A run of the learner for ratings by item id: near the best linear predictor, and exact without torch."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from tegu.core.data.spec import Spec
from tegu.core.metrics import METRICS
from tegu.learners.algorithms.item_ratings import item_ratings
from tegu.server.training.calibration_plan import CalibrationPlan
from tegu.server.training.plan import TrainingPlan
from tegu.sim.data.population import Population
from tegu.sim.data.scaling import scaling_of_users
from tegu.sim.data.trials import draw_trials
from tegu.sim.engine.predictions import Method, adapted_predictions, score
from tegu.sim.experiments.baselines.item_means import item_mean
from tegu.sim.experiments.baselines.linear_predictor import linear_predictor
from tegu.sim.run import Run, run_plan

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("ratings")]  # its run is trained once

ITEMS, USERS, K = 20, 500, 6
RMSE = METRICS["rmse"]


def people() -> Population:
    """Ratings from -10 to 10: an effect of each item, a level and three tastes of each person, noise of variance 9."""
    rng = np.random.default_rng(0)
    loadings = np.concatenate([np.full((ITEMS, 1), 2.0), rng.normal(0, 1, (ITEMS, 3))], 1)
    y = 1 + rng.normal(0, 1.5, ITEMS) + rng.normal(size=(USERS, 4)) @ loadings.T + rng.normal(0, 3, (USERS, ITEMS))
    user, item = np.nonzero(rng.random((USERS, ITEMS)) < 0.8)
    rated = np.clip(y, -10, 10)[user, item].astype(np.float32)
    return Population.from_arrays(item, rated, user, Spec.regression((), items=ITEMS))


@pytest.fixture(scope="module")
def run() -> Run:
    population = people()
    train = population.split(0).train
    _, scaling = scaling_of_users(train, 0)
    assert scaling is not None
    learner = item_ratings(
        population.spec, level=scaling.mean.item(), scale=scaling.std.item(), factors=4, users=len(train)
    )
    plan = TrainingPlan(rounds=200, calibration=CalibrationPlan(ks=(K,), metric=RMSE, folds=0))
    return run_plan(population, learner, plan)


def error(method: Method, run: Run, users: Population) -> float:
    return float(score(method, draw_trials(users, K, 1), RMSE).mean())


def test_the_plan_is_the_recommended_one(run: Run) -> None:
    assert run.plan.outer is not None
    assert (run.plan.outer.name, run.plan.outer.decay, run.plan.cohort.size) == ("Adam", True, 100)


def test_without_a_limit_it_is_within_a_fiftieth_of_the_best_linear_predictor(run: Run) -> None:
    methods = {
        (knobs["level_ridge"], knobs["spread_ridge"], knobs["taste_ridge"]): adapted_predictions(
            run.engine, run.bundle.meta, knobs
        )
        for knobs in run.learner.calibration.candidates
    }
    ridges = min(methods, key=lambda each: error(methods[each], run, run.split.calibration))
    best = error(linear_predictor(run.split.train, run.split.calibration)(K), run, run.split.heldout)
    assert error(methods[ridges], run, run.split.heldout) < 1.02 * best


def test_the_initialisation_is_as_good_as_shrunken_item_means(run: Run) -> None:
    means = error(item_mean(run.split.train, run.split.calibration)(K), run, run.split.heldout)
    start = adapted_predictions(run.engine, run.bundle.meta, run.learner.unadapted)
    assert error(start, run, run.split.heldout) < 1.005 * means


def test_a_device_without_torch_predicts_conditional_means(run: Run, tmp_path: Path) -> None:
    """The device's answer against numpy, from the parameters and the knobs that the bundle holds."""
    run.write(tmp_path / "ratings.tegu")
    items, ratings = [3, 11, 7, 0, 19, 5], [7.5, -2.0, 9.5, 3.0, 8.0, 6.0]
    source = f"""if True:
        import sys
        from tegu.client import Personalizer
        with Personalizer.open(sys.argv[1]) as person:
            print(*person.predict(range({ITEMS})).ravel())
            person.observe({items}, {ratings})
            found = person.adapt()
            print(*person.predict(range({ITEMS})).ravel())
        print(*(name for name in ("torch", "flwr", "onnx", "pandas") if name in sys.modules))
    """
    printed = subprocess.run(
        [sys.executable, "-c", source, tmp_path / "ratings.tegu"], capture_output=True, text=True, check=True
    ).stdout.split("\n")
    before, after = (np.asarray(line.split(), float) for line in printed[:2])
    assert printed[2] == ""
    (entry,) = run.bundle.manifest.schedule
    np.testing.assert_allclose(before, by_hand(run, items, ratings, entry.knobs, 0.0), atol=1e-3)
    whole = by_hand(run, items, ratings, entry.knobs, 1.0) - before
    share = (after - before) @ whole / (whole @ whole)
    np.testing.assert_allclose(after - before, share * whole, atol=1e-3)
    assert 0.1 < share <= 1.0001


def by_hand(run: Run, items: list[int], ratings: list[float], knobs: dict[str, float], share: float) -> np.ndarray:
    meta = {name: value.astype(np.float64) for name, value in run.bundle.meta.items()}
    y = run.split.train.all_rows()[1].astype(np.float64)
    level, scale = y.mean(), y.std()
    means = meta["offset"] + np.sqrt(0.3) * meta["effects"]
    features = np.sqrt(0.3 / 4) * meta["features"]
    effects = 0.3 * (means - meta["offset"])
    kernel = meta["deviation"] ** 2 / knobs["level_ridge"] + np.outer(effects, effects) / knobs["spread_ridge"]
    kernel += features @ features.T / knobs["taste_ridge"]
    residuals = (np.asarray(ratings) - level) / scale - means[items]
    solved = np.linalg.solve(kernel[np.ix_(items, items)] + 0.6 * np.eye(len(items)), residuals)
    return np.asarray(level + scale * (means + share * kernel[:, items] @ solved))
