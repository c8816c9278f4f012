"""Federations of learners that adapt by steps: in this process, on a device without torch, and on a real SuperLink."""

from __future__ import annotations

import json
import subprocess
import sys
from functools import cache
from pathlib import Path

import numpy as np
import pytest
import torch
from tests.federation.tiny import SPEC, population
from torch import Tensor, nn

from tegu.client import Personalizer
from tegu.compile import make_bundle
from tegu.core.bundle.file import Bundle, read_bundle, write_bundle
from tegu.core.bundle.manifest import knobs_for
from tegu.core.data.batch import Batch, NumpyBatch, full_batch
from tegu.core.data.tree import Tree, max_difference
from tegu.core.errors import DataError
from tegu.core.sampling.episode import EpisodeRule, draw_episode, episode_key, episode_noise
from tegu.learners import LEARNERS, Learner
from tegu.server import APP_DIR
from tegu.server.deployment import local_federation
from tegu.server.run_config import to_config
from tegu.server.training.outer_optimiser import OuterRule
from tegu.server.training.plan import CohortPlan, TrainingPlan
from tegu.sim.engine import Engine
from tegu.sim.engine.onnx_looped import OnnxLooped
from tegu.sim.training.in_process import train_in_process
from tegu.sim.training.on_ray import write_partitions

USERS, NODES = 6, 3
OPTIONS = {
    "maml": {"steps": 2},
    "fomaml": {"steps": 2},
    "meta_sgd": {},
    "t_net": {"steps": 1, "mask": True},
    "lstm_meta_learner": {"steps": 1, "hidden": 2},
    "platipus": {"steps": 1, "samples": 2},
    "bayesian_maml": {"steps": 1, "particles": 2},
}
ON_A_SUPERLINK = ("meta_sgd", "platipus")  # of learned optimisers and of Bayesian ones; Reptile has its own test
PLAN = TrainingPlan(
    rounds=2, seed=5, cohort=CohortPlan(USERS), outer=OuterRule("SGD", 0.5), episodes=EpisodeRule(2, 4, 4)
)
ON_A_DEVICE = """
import json, sys
from tegu.client import Personalizer
found = {}
for path in sys.argv[1:]:
    with Personalizer.open(path) as person:
        before = person.predict([[1.0, 0.0, 0.0, 0.0]]).tolist()
        person.observe([[1.0, 0.0, 0.0, 0.0], [0.0, 1.0, 0.0, 0.0]], [2, 1])
        steps = person.adapt().steps
        found[path] = [before, steps, person.predict([[1.0, 0.0, 0.0, 0.0]]).tolist()]
assert not {"torch", "onnx", "flwr"} & set(sys.modules)
print(json.dumps(found))
"""


@cache
def learner(name: str) -> Learner:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(4, 3), nn.Tanh(), nn.Linear(3, 3))
    return LEARNERS[name](model, SPEC, lr=0.3, **OPTIONS[name])


@cache
def start(name: str) -> Bundle:
    return make_bundle(learner(name), learner(name).init(0))


def in_torch(name: str) -> Tree:
    """The parameters after the plan's rounds, by the learner's own functions and the rows that each user draws."""
    people, own = population(USERS), learner(name)
    meta = {each: torch.from_numpy(value.copy()) for each, value in own.init(0).items()}
    for number in range(1, 3):
        total = {each: torch.zeros_like(value) for each, value in meta.items()}
        for user in range(USERS):
            key = episode_key(PLAN.seed, number, str(people.users[user]))
            support, query = draw_episode(*people.rows(user), PLAN.episodes, key)
            noise = torch.from_numpy(episode_noise(own.noise, np.asarray([key], np.uint64))[0])
            update = own.update(meta, tensors(support), tensors(query), noise)
            total = {each: total[each] + update[each] for each in total}
        meta = {each: meta[each] - 0.5 / USERS * total[each] for each in meta}
    return {each: value.detach().numpy() for each, value in meta.items()}


def tensors(batch: NumpyBatch) -> Batch[Tensor]:
    return Batch(*map(torch.tensor, batch))


@pytest.mark.parametrize("name", OPTIONS)
def test_a_federation_trains_as_torch_does(name: str) -> None:
    engine = Engine(OnnxLooped(start(name).graphs), start(name).manifest, learner(name).execution)
    trained = train_in_process(engine, population(USERS), start(name).meta, PLAN)
    assert max_difference(trained.meta, start(name).meta) > 1e-3
    assert max_difference(trained.meta, in_torch(name)) < 1e-5
    assert start(name).manifest.learner == name


def test_a_device_adapts_without_torch(tmp_path: Path) -> None:
    paths = [str(tmp_path / f"{name}.tegu") for name in OPTIONS]
    for name, path in zip(OPTIONS, paths, strict=True):
        write_bundle(Path(path), start(name))
    command = [sys.executable, "-c", ON_A_DEVICE, *paths]
    printed = subprocess.run(command, capture_output=True, check=True, text=True).stdout
    for name, path in zip(OPTIONS, paths, strict=True):
        before, steps, after = json.loads(printed)[path]
        assert steps >= 1, name
        chances = np.exp(np.array([before, after])[:, 0])
        chances /= chances.sum(1, keepdims=True)
        assert chances[1, 2] > chances[0, 2], f"{name} must learn that this row has label 2"


@pytest.mark.parametrize("name", ["platipus", "bayesian_maml"])
def test_a_device_says_how_sure_it_is(name: str) -> None:
    x, labels = np.eye(4, dtype=np.float32)[:2], [2, 1]
    with Personalizer.open(start(name)) as person, Personalizer.open(start(name)) as other:
        for each in (person, other):
            each.observe(x, labels)
            each.adapt()
        mean, spread = person.predict(x, samples=2)
        again = other.predict(x, samples=2)
        output = person.predict(x)
        with pytest.raises(DataError, match=r"samples is 3 .* expected 2 to 2"):
            person.predict(x, samples=3)
        noise = (
            torch.from_numpy(person._current.model._noise(full_batch(x, np.array(labels))))
            if learner(name).noise
            else torch.zeros(0)
        )
        knobs = knobs_for(person.manifest, 2)
    np.testing.assert_array_equal(mean, again[0])
    np.testing.assert_array_equal(spread, again[1])
    assert (spread > 1e-3).all()
    np.testing.assert_allclose(mean, np.exp(output), atol=1e-6)
    meta = {each: torch.from_numpy(np.array(value)) for each, value in start(name).meta.items()}
    support = Batch(torch.from_numpy(x), torch.tensor(labels), torch.ones(2))
    state = learner(name).adapt(meta, support, knobs, noise)
    members = learner(name).members
    assert members is not None
    chances = torch.stack([each.softmax(-1) for each in members.outputs(meta, state, support.x)])
    np.testing.assert_allclose(mean, chances.mean(0).detach().numpy(), atol=1e-5)
    np.testing.assert_allclose(spread, chances.std(0).detach().numpy(), atol=1e-5)


def test_a_learner_with_one_set_of_parameters_has_no_spread() -> None:
    with (
        Personalizer.open(start("maml")) as person,
        pytest.raises(DataError, match=r"maml, holds 1 of a user: train with platipus or bayesian_maml"),
    ):
        person.predict(np.eye(4, dtype=np.float32), samples=2)


@pytest.mark.slow
@pytest.mark.xdist_group("superlink-learners")
@pytest.mark.parametrize("name", ON_A_SUPERLINK)
def test_a_superlink_trains_as_torch_does(name: str, tmp_path: Path) -> None:
    write_bundle(tmp_path / "start.tegu", start(name))
    write_partitions(tmp_path / "rows", population(USERS), NODES)
    nodes = [{"data": f"{tmp_path}/rows/{node}.npz", "bundle": f"{tmp_path}/start.tegu"} for node in range(NODES)]
    paths = {"bundle": f"{tmp_path}/start.tegu", "out": f"{tmp_path}/out"}
    plan = TrainingPlan(
        rounds=2, seed=5, cohort=CohortPlan(NODES, NODES), outer=PLAN.outer, episodes=PLAN.episodes
    ).training_only()
    with local_federation(APP_DIR, tmp_path / "flower", nodes) as flower:
        run = flower.run({**to_config(plan), "clip": 0.0, **paths}, timeout=180)
    assert run.completed, run.log
    assert max_difference(read_bundle(tmp_path / "out/init.tegu").meta, in_torch(name)) < 1e-5
