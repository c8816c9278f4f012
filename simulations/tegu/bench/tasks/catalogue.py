"""The tasks of `tegu bench simulate`, W1 to W4, and of `tegu bench device`."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from statistics import NormalDist

import numpy as np
from torch import nn

from tegu.bench.tasks.models import MODELS
from tegu.bench.tasks.task import Task, TaskSettings
from tegu.core.sampling.episode import EpisodeRule
from tegu.core.sampling.keyed_random import keyed_rng
from tegu.learners.modules.initial_values import initial_parameters

__all__ = ["DEVICE_TASKS", "SIMULATION_TASKS", "synthetic_task"]


def synthetic_task(settings: TaskSettings, rows_per_user: Sequence[int]) -> Task:
    """Random inputs, labelled by one random linear map that all users share.

    Args:
        settings: how to train; the name also seeds the data.
        rows_per_user: number of rows of each user.
    """
    spec = MODELS[settings.model].spec
    rng = keyed_rng("bench", settings.name)
    x = rng.standard_normal((sum(rows_per_user), *spec.x.shape)).astype(np.float32)
    teacher = rng.standard_normal((int(np.prod(spec.x.shape)), spec.outputs)).astype(np.float32)
    user = np.repeat(np.arange(len(rows_per_user)), rows_per_user)
    y = (x.reshape(len(x), -1) @ teacher).argmax(1).astype(np.int64)
    return Task(settings, x, y, user, initial_parameters(_model(settings), 0))


def _model(settings: TaskSettings) -> nn.Module:
    return MODELS[settings.model].build()


def w1() -> Task:
    """100 users of 10 rows, MLP."""
    return synthetic_task(TaskSettings("W1", "mlp", steps=5, lr=0.1, rounds=100), [10] * 100)


def w2() -> Task:
    """20 users of 20 images, CNN (the FEMNIST network)."""
    return synthetic_task(TaskSettings("W2", "cnn", steps=5, lr=0.02, rounds=2), [20] * 20)


def w3() -> Task:
    """The film clicks of 100 users, with the model and training of the experiment `movielens`."""
    from tegu.sim.experiments.movielens import clicks  # noqa: PLC0415 # flwr, which no other task needs

    population, _ = clicks()
    users = population.subset(np.arange(100))
    settings = TaskSettings(
        name="W3",
        model="films",
        steps=5,
        lr=2.0,
        prior=10.0,
        adapted_parameters=("user",),
        rounds=20,
        outer="AdamW",
        outer_lr=0.01,
        outer_options={"weight_decay": 0.5},
        episodes=EpisodeRule(min_support=1, max_support=40, max_query=64),
    )
    user = np.repeat(np.arange(len(users)), users.counts)
    return Task(settings, *users.all_rows(), user, initial_parameters(_model(settings), 0))


def w4() -> Task:
    """100 users of 5 to 300 rows, log-normally distributed with median 30, MLP."""
    return synthetic_task(TaskSettings("W4", "mlp", steps=5, lr=0.1, rounds=100), _log_normal_counts(100))


def _log_normal_counts(users: int) -> list[int]:
    """Rows of each user: the quantiles of the distribution, shuffled."""
    normal = NormalDist(math.log(30), 1.0)
    counts = [round(math.exp(normal.inv_cdf((user + 0.5) / users))) for user in range(users)]
    return [int(count) for count in keyed_rng("bench", "sizes").permutation(np.clip(counts, 5, 300))]


SIMULATION_TASKS: dict[str, Callable[[], Task]] = {"W1": w1, "W2": w2, "W3": w3, "W4": w4}
DEVICE_TASKS: dict[str, Callable[[], Task]] = {
    "mlp": lambda: synthetic_task(TaskSettings("mlp", "mlp", steps=10, lr=0.1, rounds=500), [10]),
    "cnn": lambda: synthetic_task(TaskSettings("cnn", "cnn", steps=10, lr=0.02, rounds=5), [10]),
}
