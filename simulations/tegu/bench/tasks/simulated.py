"""The works of `tegu bench simulate`, W1 to W4, and the two of `tegu bench device`."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from statistics import NormalDist

import numpy as np
from torch import nn

from tegu.bench.tasks.models import MODELS
from tegu.bench.tasks.task import Task, Work
from tegu.core.sampling.episode import EpisodeRule
from tegu.core.sampling.keyed_random import keyed_rng
from tegu.learners.modules.functional import initial_parameters

__all__ = ["ADAPTED", "SIMULATED", "labelled"]


def labelled(work: Work, sizes: Sequence[int]) -> Task:
    """Random inputs for users with so many rows each, labelled by a random linear map that all share."""
    spec = MODELS[work.model].spec
    rng = keyed_rng("bench", work.name)
    x = rng.standard_normal((sum(sizes), *spec.x.shape)).astype(np.float32)
    teacher = rng.standard_normal((int(np.prod(spec.x.shape)), spec.outputs)).astype(np.float32)
    y = (x.reshape(len(x), -1) @ teacher).argmax(1).astype(np.int64)
    return Task(work, x, y, np.repeat(np.arange(len(sizes)), sizes), initial_parameters(_model(work), 0))


def _model(work: Work) -> nn.Module:
    return MODELS[work.model].build()


def w1() -> Task:
    """100 users of 10 rows, MLP."""
    return labelled(Work("W1", "mlp", steps=5, lr=0.1, rounds=100), [10] * 100)


def w2() -> Task:
    """20 users of 20 pictures, the FEMNIST network."""
    return labelled(Work("W2", "cnn", steps=5, lr=0.02, rounds=2), [20] * 20)


def w3() -> Task:
    """100 people's film clicks, the model and training of the experiment `movielens`."""
    from tegu.sim.experiments.movielens import clicks  # noqa: PLC0415 # flwr, which other works do without

    population, _ = clicks()
    chosen = population.subset(np.arange(100))
    work = Work(
        name="W3",
        model="films",
        steps=5,
        lr=2.0,
        prior=10.0,
        fast=("user",),
        rounds=20,
        outer="AdamW",
        outer_lr=0.01,
        outer_options={"weight_decay": 0.5},
        rule=EpisodeRule(min_support=1, max_support=40, max_query=64),
    )
    user = np.repeat(np.arange(len(chosen)), chosen.counts)
    return Task(work, *chosen.all_rows(), user, initial_parameters(_model(work), 0))


def w4() -> Task:
    """100 users of 5 to 300 rows, log-normal (median 30), MLP."""
    return labelled(Work("W4", "mlp", steps=5, lr=0.1, rounds=100), _sizes(100))


def _sizes(users: int) -> list[int]:
    """The quantiles of the distribution, in no order."""
    normal = NormalDist(math.log(30), 1.0)
    sizes = [round(math.exp(normal.inv_cdf((user + 0.5) / users))) for user in range(users)]
    return [int(size) for size in keyed_rng("bench", "sizes").permutation(np.clip(sizes, 5, 300))]


SIMULATED: dict[str, Callable[[], Task]] = {"W1": w1, "W2": w2, "W3": w3, "W4": w4}
ADAPTED: dict[str, Callable[[], Task]] = {
    "mlp": lambda: labelled(Work("mlp", "mlp", steps=10, lr=0.1, rounds=500), [10]),
    "cnn": lambda: labelled(Work("cnn", "cnn", steps=10, lr=0.02, rounds=5), [10]),
}
