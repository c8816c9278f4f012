"""A federation of implicit ALS against numpy: the app on a grid, and a real SuperLink. Both find the same schedule."""

from __future__ import annotations

from functools import cache
from pathlib import Path

import numpy as np
import pytest
from tests.federation.nodes import paths_of_run, write_nodes
from tests.federation.plain import rows

from tegu.compile import make_bundle
from tegu.core.bundle.file import Bundle, read_bundle, write_bundle
from tegu.core.calibration.assignment import is_calibration_user
from tegu.core.data.spec import Spec
from tegu.core.data.tree import max_difference
from tegu.core.sampling.episode import EpisodeRule
from tegu.learners import Learner, implicit_als
from tegu.server import APP_DIR
from tegu.server.app import train
from tegu.server.deployment import local_federation
from tegu.server.run_config import to_config
from tegu.server.training.outer_optimiser import OuterRule
from tegu.server.training.plan import CohortPlan, TrainingPlan
from tegu.sim.data.population import Population
from tegu.sim.engine import Engine
from tegu.sim.engine.onnx_looped import OnnxLooped
from tegu.sim.federation.grid import InProcessGrid, answer_with, flower_identity

NODES, ITEMS, FACTORS, UNSEEN, RIDGE, SHARE = 3, 16, 3, 0.2, 0.1, 0.4
PLAN = TrainingPlan(
    rounds=4, seed=3, cohort=CohortPlan(NODES, NODES), outer=OuterRule("SGD", 0.7), episodes=EpisodeRule(1, 4, 4)
)
RUN = {**to_config(PLAN.training_only()), "clip": 0.0, "calibration-share": SHARE, "calibration-ks": "1,2"}


@cache
def population() -> Population:
    """60 users with seven clicks each, on the lower or the upper half of the items."""
    rng = np.random.default_rng(0)
    items = np.concatenate([8 * (user % 2) + rng.choice(8, 7, replace=False) for user in range(60)])
    return Population.from_arrays(items, np.ones(420), np.repeat(np.arange(60), 7), Spec.ranking(ITEMS))


@cache
def learner() -> Learner:
    return implicit_als(population().spec, factors=FACTORS, unseen=UNSEEN, ridge=RIDGE)


@cache
def start() -> Bundle:
    """Item vectors are drawn large: the learner's own hardly move in four rounds."""
    items = np.random.default_rng(1).normal(size=(ITEMS, FACTORS)).astype(np.float32)
    return make_bundle(learner(), {**learner().init(0), "items": items})


def by_numpy() -> tuple[dict[str, np.ndarray], int]:
    """The parameters after all rounds of the users that do not calibrate, and the number of these."""
    people, meta = population(), {name: array.astype(float) for name, array in start().meta.items()}
    chosen = [index for index, name in enumerate(people.users) if not is_calibration_user(PLAN.seed, str(name), SHARE)]
    for number in range(1, PLAN.rounds + 1):
        sums = {name: np.zeros_like(array) for name, array in meta.items()}
        for user in chosen:
            clicked = np.zeros(ITEMS)
            clicked[rows(people, user, PLAN.episodes, PLAN.seed, number)[0].long().numpy()] = 1
            weight, items = np.where(clicked > 0, 1, UNSEEN), meta["items"]
            matrix = (items.T * weight) @ items + RIDGE * weight.sum() * np.eye(FACTORS)
            taste = np.linalg.solve(matrix, items.T @ clicked)
            errors = weight * (items @ taste - clicked)
            sums["items"] += np.outer(errors, taste) + RIDGE * weight[:, None] * items
            sums["popularity"] += meta["popularity"] - clicked
        meta = {name: array - 0.7 * sums[name] / len(chosen) for name, array in meta.items()}
    return meta, len(chosen)


@pytest.fixture(scope="module")
def on_a_grid(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    folder = tmp_path_factory.mktemp("grid")
    write_bundle(folder / "start.tegu", start())
    engine = Engine(OnnxLooped(start().graphs), start().manifest, learner().execution)
    grid = InProcessGrid(NODES, answer_with(engine, population(), NODES))
    with flower_identity():
        return train(grid, {**RUN, "bundle": f"{folder}/start.tegu", "out": f"{folder}/out"})


def as_numpy_trains(bundle: Bundle) -> None:
    expected, people = by_numpy()
    assert max_difference(expected, {name: array.astype(float) for name, array in start().meta.items()}) > 0.2
    assert max_difference({name: array.astype(float) for name, array in bundle.meta.items()}, expected) < 1e-4
    assert set(bundle.manifest.training["users_a_round"].values()) == {people}


def test_the_app_on_a_grid_trains_as_numpy_does(on_a_grid: Bundle) -> None:
    as_numpy_trains(on_a_grid)
    schedule = on_a_grid.manifest.schedule
    assert [entry.k for entry in schedule] == [1, 2]
    assert all(entry.knobs in [dict(each) for each in learner().calibration.candidates] for entry in schedule)
    assert schedule[0].gain > 0.1, "half of the items are of no use to a user"


@pytest.mark.slow
@pytest.mark.xdist_group("superlink-learners")
def test_a_superlink_trains_and_calibrates_alike(on_a_grid: Bundle, tmp_path: Path) -> None:
    nodes = write_nodes(tmp_path, start(), population(), NODES)
    with local_federation(APP_DIR, tmp_path / "flower", nodes) as flower:
        run = flower.run({**RUN, **paths_of_run(tmp_path)}, timeout=180)
    assert run.completed, run.log
    bundle = read_bundle(tmp_path / "out/init.tegu")
    as_numpy_trains(bundle)
    found, expected = bundle.manifest.schedule, on_a_grid.manifest.schedule
    assert [(entry.k, dict(entry.knobs)) for entry in found] == [(entry.k, dict(entry.knobs)) for entry in expected]
    assert [entry.gain for entry in found] == pytest.approx([entry.gain for entry in expected], rel=1e-4)
