"""A tiny classifier, users who differ, small experiments, and the same work in plain torch."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from importlib import import_module
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from tegu import compile as compiling
from tegu.core.data.batch import Array
from tegu.core.data.spec import Spec
from tegu.core.data.tree import Tree
from tegu.core.sampling.episode import Episode, EpisodeRule
from tegu.learners import Learner, reptile
from tegu.server.training.calibration_plan import CalibrationPlan
from tegu.server.training.outer_optimiser import OuterRule
from tegu.server.training.plan import CohortPlan, EarlyStopping, TrainingPlan
from tegu.sim.data.population import Population
from tegu.sim.data.streams import Streams
from tegu.sim.experiments import Experiment

SPEC = Spec.classification((2,), 3)
OPTIONS: dict[str, Any] = {"steps": 3, "lr": 0.3, "prior": 1.0}
KNOBS = {"steps": 3.0, "lr": 0.3, "prior": 1.0}


def classifier() -> nn.Module:
    return nn.Sequential(nn.Linear(2, 4), nn.Tanh(), nn.Linear(4, 3))


def learner() -> Learner:
    return reptile(classifier(), SPEC, **OPTIONS, init="fresh")


def people(users: int = 40, seed: int = 0, least: int = 4, most: int = 16) -> Population:
    """Return users whose labels split the plane at the user's own shift."""
    rng = np.random.default_rng(seed)
    rows = rng.integers(least, most + 1, users)
    user = np.repeat(np.arange(users), rows)
    x = rng.normal(size=(len(user), 2)).astype(np.float32)
    shift = rng.normal(size=(users, 2))[user]
    y = (x + shift > 0).sum(1)
    return Population.from_arrays(x, y, user, SPEC)


def plan(
    rounds: int = 6,
    *,
    seed: int = 0,
    cohort: int = 5,
    nodes: int | None = None,
    ks: tuple[int, ...] = (1, 3),
    folds: int | None = 0,
    patience: int = 0,
    validate_every: int | None = None,
    outer: OuterRule | None = None,
) -> TrainingPlan:
    return TrainingPlan(
        rounds=rounds,
        seed=seed,
        cohort=CohortPlan(cohort, nodes),
        outer=outer or OuterRule("Adam", 0.05, decay=True),
        episodes=EpisodeRule(1, 6, 6),
        early_stopping=EarlyStopping(validate_every, patience),
        calibration=CalibrationPlan(folds=folds, ks=ks),
    )


def experiment(*, seed: int = 0, rounds: int | None = None, cohort: int | None = None) -> Experiment:
    """Build an experiment that takes a second or two once its graphs are compiled."""
    model = classifier()
    return Experiment(
        name="tiny",
        population=people(),
        model=model,
        learner=reptile(model, SPEC, **OPTIONS, init="fresh"),
        options=OPTIONS,
        plan=plan(rounds or 6, seed=seed, cohort=cohort or 5),
    )


def streams(users: int = 40, before: int = 4, after: int = 3, seed: int = 0) -> Streams:
    """Return users whose shift turns to its opposite after `before` interactions."""
    rng = np.random.default_rng(seed)
    x, query_x = (rng.normal(size=(users, rows, 2)).astype(np.float32) for rows in (before + after, 6))
    shift = rng.normal(size=(users, 1, 2))
    old, new = ((x + sign * shift > 0).sum(-1) for sign in (1, -1))
    query_y = np.stack([(query_x + sign * shift > 0).sum(-1) for sign in (1, -1)], 1)
    y = np.where(np.arange(before + after) < before, old, new)
    return Streams(np.arange(users), x, y, old, query_x, query_y, before)


def drifting(*, seed: int = 0, rounds: int | None = None, cohort: int | None = None) -> Experiment:
    """Build the experiment with users whose preferences change."""
    return replace(experiment(seed=seed, rounds=rounds, cohort=cohort), name="tiny drift", streams=streams())


def cross_fitted(*, seed: int = 0, rounds: int | None = None, cohort: int | None = None) -> Experiment:
    """Build the experiment with folds in its plan."""
    found = experiment(seed=seed, rounds=rounds, cohort=cohort)
    return replace(found, plan=replace(found.plan, calibration=CalibrationPlan(folds=2, ks=(1, 3))))


def ranking(*, seed: int = 0, rounds: int | None = None, cohort: int | None = None) -> Experiment:
    """Build a ranking, for which residual correction is not defined."""
    model, spec = nn.Embedding(6, 1), Spec.ranking(6)
    items, users = np.tile(np.arange(6), 20), np.repeat(np.arange(20), 6)
    population = Population.from_arrays(items, np.ones(120, np.float32), users, spec)
    scores = nn.Sequential(model, nn.Flatten(0))
    return Experiment(
        "tiny ranking", population, scores, reptile(scores, spec, init="fresh"), plan(rounds or 1, seed=seed)
    )


# --- the same work in plain torch ---------------------------------------------------------------------------------


def torch_adapted(meta: Tree, x: Array, y: Array, steps: int, lr: float, prior: float) -> nn.Module:
    """The classifier after plain SGD steps on all rows, each of size `lr * n / (n + prior)`."""
    model = with_parameters(meta)
    optimiser = torch.optim.SGD(model.parameters(), lr=lr * len(x) / (len(x) + prior))
    for _ in range(steps):
        optimiser.zero_grad()
        torch_loss(model, x, y).backward()
        optimiser.step()
    return model


def with_parameters(meta: Tree) -> nn.Module:
    model = classifier()
    model.load_state_dict({name: torch.tensor(array) for name, array in meta.items()})
    return model


def torch_loss(model: nn.Module, x: Array, y: Array) -> Tensor:
    return nn.functional.cross_entropy(model(torch.tensor(x)), torch.tensor(y))


def torch_outputs(model: nn.Module, x: Array) -> Array:
    with torch.no_grad():
        return np.asarray(model(torch.tensor(x)))


def parameters(model: nn.Module) -> dict[str, Array]:
    return {name: value.detach().numpy().copy() for name, value in model.named_parameters()}


def all_rows(episode: Episode) -> tuple[Array, Array]:
    return (
        np.concatenate([episode.support.x, episode.query.x]),
        np.concatenate([episode.support.y, episode.query.y]),
    )


_COMPILED: dict[Any, Any] = {}


@contextmanager
def compiled_once() -> Iterator[None]:
    """Compile each of the tiny experiment's learners once per session; a compilation takes seconds."""
    with pytest.MonkeyPatch.context() as patch:
        baselines = [f"tegu.sim.evaluation.baselines.{name}" for name in ("generic", "run_baselines")]
        for module in map(import_module, ("tegu.sim.run", "tegu.sim.engine.choose", *baselines)):
            for name in ("compile_learner", "compile_cohort", "compile_cohort_updates"):
                if hasattr(module, name):
                    patch.setattr(module, name, _remembered(name))
        yield


def _remembered(name: str) -> Callable[..., Any]:
    def call(learner: Learner, *others: Any) -> Any:
        key = (name, learner.name, repr(learner.spec), learner.adapted_parameters, tuple(learner.knobs.items()))
        if key not in _COMPILED:
            _COMPILED[key] = getattr(compiling, name)(learner, *others)
        return _COMPILED[key]

    return call
