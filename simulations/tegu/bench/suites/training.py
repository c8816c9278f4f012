"""Training each learner, against the same learner written directly in torch with `vmap` (`peers/torch_learners`).

    each learner    5-way tasks of vectors, one example of each label and five queries; a network of two hidden layers

Both sides train the same rounds of the same number of tasks with Adam, from the same parameters. A time is processor
seconds of the rounds on all cores: drawing tasks, updates, their mean and the server's step. Tegu's compilation comes
before, and so does one round of each side.
"""

from __future__ import annotations

import time
from collections.abc import Callable

import numpy as np
import torch

from tegu.bench.harness.comparison import Comparison
from tegu.bench.harness.options import BenchmarkOptions, select_names
from tegu.bench.peers.torch_learners.task import HIDDEN, build_network
from tegu.bench.peers.torch_learners.training import LOSSES, Tasks, train
from tegu.compile import compile_learner
from tegu.core.data.spec import Spec
from tegu.core.sampling.episode import EpisodeRule
from tegu.core.sampling.keyed_random import keyed_rng
from tegu.learners.catalogue import find_learner
from tegu.learners.learner import Learner
from tegu.server.training.outer_optimiser import OuterRule
from tegu.server.training.plan import CohortPlan, EarlyStopping, TrainingPlan
from tegu.sim.data.population import Population
from tegu.sim.engine import make_engine
from tegu.sim.training.in_process import train_in_process

__all__ = ["bench_training", "compare_learner", "learner_of", "tasks_of_vectors"]

_NAMES = ("reptile", *LOSSES)
_EMBEDS = ("prototypical_networks", "matching_networks", "relation_networks", "r2d2", "snail")
_WAYS, _SHOTS, _ROWS, _FEATURES = 5, 1, 6, 16
_TASKS, _COHORT, _ROUNDS, _LR = 200, 32, 50, 0.001


def bench_training(options: BenchmarkOptions) -> list[Comparison]:
    """Compare each learner.

    Raises:
        UnknownNameError: a requested task is not the name of a learner of this benchmark.
    """
    return [compare_learner(name, _ROUNDS, options) for name in select_names("task", _NAMES, options.tasks)]


def compare_learner(name: str, rounds: int, options: BenchmarkOptions) -> Comparison:
    """Compare `options.pairs` trainings of a learner with as many of the plain loop."""
    learner, tasks = learner_of(name), tasks_of_vectors()
    ours, theirs = _tegu(learner, tasks), _torch(learner, tasks)
    for side in (ours, theirs):
        side(1)
    seconds: list[tuple[float, float]] = []
    for pair in range(options.pairs):
        seconds.append((_seconds(ours, rounds), _seconds(theirs, rounds)))
        options.log(f"{name}, pair {pair + 1}: tegu {seconds[-1][0]:.2f} s, torch {seconds[-1][1]:.2f} s")
    return Comparison(name, "torch-vmap", "time", "s", *map(list, zip(*seconds, strict=True)))


def learner_of(name: str) -> Learner:
    """The learner of a network that embeds or classifies vectors."""
    torch.manual_seed(0)
    network = build_network(_FEATURES, HIDDEN if name in _EMBEDS else _WAYS)
    return find_learner(name)(network, Spec.classification((_FEATURES,), _WAYS))


def tasks_of_vectors() -> Tasks:
    """Tasks whose labels have a centre each."""
    rng = keyed_rng("bench training")
    centres = rng.standard_normal((_TASKS, _WAYS, 1, _FEATURES))
    noise = rng.standard_normal((_TASKS, _WAYS, _ROWS, _FEATURES))
    return Tasks((centres + noise).astype(np.float32), _SHOTS)


def _tegu(learner: Learner, tasks: Tasks) -> Callable[[int], object]:
    labels = np.tile(np.repeat(np.arange(_WAYS), _ROWS), _TASKS)
    user = np.repeat(np.arange(_TASKS), _WAYS * _ROWS)
    population = Population.from_arrays(tasks.x.reshape(-1, _FEATURES), labels, user, learner.spec, balanced=True)
    engine, first = make_engine(learner, compile_learner(learner)), learner.init(0)

    def run(rounds: int) -> object:
        plan = TrainingPlan(
            rounds=rounds,
            cohort=CohortPlan(_COHORT),
            outer=OuterRule("Adam", _LR),
            episodes=EpisodeRule(_WAYS * _SHOTS, _WAYS * _SHOTS, _WAYS * (_ROWS - _SHOTS)),
            early_stopping=EarlyStopping(validate_every=0),
        )
        return train_in_process(engine, population, first, plan)

    return run


def _torch(learner: Learner, tasks: Tasks) -> Callable[[int], object]:
    first = learner.init(0)
    return lambda rounds: train(learner.name, tasks, first, rounds=rounds, cohort=_COHORT, lr=_LR, noise=learner.noise)


def _seconds(run: Callable[[int], object], rounds: int) -> float:
    began = time.process_time()
    run(rounds)
    return time.process_time() - began
