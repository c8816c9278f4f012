"""A SuperLink trains a metric learner and a fast-adaptation one as plain torch does, row by row from the papers."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import cache
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F  # noqa: N812
from tests.federation.tiny import SPEC, population
from torch import Tensor, nn

from tegu.compile import make_bundle
from tegu.core.bundle.file import Bundle, read_bundle, write_bundle
from tegu.core.data.tree import Tree, max_difference
from tegu.core.sampling.episode import EpisodeRule, draw_episode, episode_key
from tegu.learners import Learner, prototypical_networks, r2d2
from tegu.server import APP_DIR
from tegu.server.deployment import local_federation
from tegu.server.run_config import to_config
from tegu.server.training.outer_optimiser import OuterRule
from tegu.server.training.plan import CohortPlan, TrainingPlan, UpdatePlan
from tegu.sim.engine import Engine
from tegu.sim.engine.onnx_looped import OnnxLooped
from tegu.sim.training.in_process import train_in_process
from tegu.sim.training.on_ray import write_partitions

NODES, USERS = 3, 11
PLAN = TrainingPlan(
    rounds=3,
    seed=5,
    cohort=CohortPlan(NODES, NODES),
    outer=OuterRule("SGD", 0.3),
    episodes=EpisodeRule(3, 6, 4),
    updates=UpdatePlan(clip=math.inf),
)
_Meta = dict[str, Tensor]


@cache
def learner(name: str) -> Learner:
    torch.manual_seed(1)
    model = nn.Sequential(nn.Linear(4, 8), nn.Tanh(), nn.Linear(8, 5))
    return {"prototypical_networks": prototypical_networks, "r2d2": r2d2}[name](model, SPEC)


@cache
def bundle(name: str) -> Bundle:
    return make_bundle(learner(name), learner(name).init(0))


def embed(meta: _Meta, x: Tensor) -> Tensor:
    return torch.tanh(x @ meta["0.weight"].T + meta["0.bias"]) @ meta["2.weight"].T + meta["2.bias"]


def loss_of_prototypes(meta: _Meta, x: Tensor, y: Tensor, asked: Tensor, labels: Tensor) -> Tensor:
    known = sorted(set(y.tolist()))
    prototypes = torch.stack([embed(meta, x[y == label]).mean(0) for label in known])
    losses = [
        F.cross_entropy(-(embed(meta, row) - prototypes).square().sum(1), torch.tensor(known.index(label)))
        for row, label in zip(asked, labels.tolist(), strict=True)
        if label in known
    ]
    return sum(losses, torch.tensor(0.0)) / max(len(losses), 1)


def loss_of_ridge(meta: _Meta, x: Tensor, y: Tensor, asked: Tensor, labels: Tensor) -> Tensor:
    known, other = (F.pad(embed(meta, rows) / math.sqrt(5), [0, 1], value=1.0) for rows in (x, asked))
    system = known.T @ known + meta["r2d2/log_ridge"].exp() * torch.eye(6)
    weights = torch.linalg.solve(system, known.T @ F.one_hot(y, 3).to(x.dtype))
    return F.cross_entropy(meta["r2d2/log_scale"].exp() * other @ weights + meta["r2d2/bias"], labels)


LOSSES: dict[str, Callable[..., Tensor]] = {"prototypical_networks": loss_of_prototypes, "r2d2": loss_of_ridge}


def by_torch(name: str) -> Tree:
    """The parameters after all rounds."""
    people, meta = population(USERS), {key: torch.from_numpy(value) for key, value in bundle(name).meta.items()}
    able = [user for user in range(USERS) if people.counts[user] > PLAN.episodes.min_support]
    for number in range(1, PLAN.rounds + 1):
        leaves = {key: value.detach().requires_grad_() for key, value in meta.items()}
        total = torch.tensor(0.0)
        for user in able:
            key = episode_key(PLAN.seed, number, str(people.users[user]))
            support, query = draw_episode(*people.rows(user), PLAN.episodes, key)
            rows = (torch.from_numpy(each) for each in (support.x, support.y, query.x, query.y))
            total = total + LOSSES[name](leaves, *rows)
        slopes = torch.autograd.grad(total / len(able), list(leaves.values()))
        meta = {key: value - PLAN.outer.lr * slope for (key, value), slope in zip(leaves.items(), slopes, strict=True)}
    return {key: value.detach().numpy() for key, value in meta.items()}


@pytest.mark.parametrize("name", LOSSES)
def test_training_in_process_equals_plain_torch(name: str) -> None:
    engine = Engine(OnnxLooped(bundle(name).graphs), bundle(name).manifest, learner(name).execution)
    trained = train_in_process(engine, population(USERS), bundle(name).meta, PLAN)
    expected = by_torch(name)
    assert max_difference(expected, bundle(name).meta) > 0.05
    assert max_difference(trained.meta, expected) < 1e-4


@pytest.mark.slow
@pytest.mark.xdist_group("superlink-learners")
@pytest.mark.parametrize("name", LOSSES)
def test_a_superlink_trains_as_plain_torch_does(name: str, tmp_path: Path) -> None:
    write_bundle(tmp_path / "start.tegu", bundle(name))
    write_partitions(tmp_path / "rows", population(USERS), NODES)
    nodes = [{"data": f"{tmp_path}/rows/{node}.npz", "bundle": f"{tmp_path}/start.tegu"} for node in range(NODES)]
    paths = {"bundle": f"{tmp_path}/start.tegu", "out": f"{tmp_path}/out"}
    with local_federation(APP_DIR, tmp_path / "flower", nodes) as flower:
        run = flower.run({**to_config(PLAN.training_only()), **paths}, timeout=180)
    assert run.completed, run.log
    assert max_difference(read_bundle(tmp_path / "out/init.tegu").meta, by_torch(name)) < 1e-4
