"""Joint training: the same module, trained in one place by plain SGD on all rows of all training users.

It sees as many examples as the run's training did: an example counts once in each round in which a user's episode holds
it. The step size decays linearly to 0. It is chosen by a tenth of the examples, and the full training is judged ten
times: the parameters that are best for users that had no part in it are kept. A federation cannot train like this, for
no device may give its rows away.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
import torch
from torch import nn

from tegu.core.data.batch import Array
from tegu.core.data.tree import Tree
from tegu.core.metrics import Metric
from tegu.core.sampling.keyed_random import keyed_rng
from tegu.learners.learner import Source, TorchBatch
from tegu.learners.modules.functional import Applied
from tegu.learners.modules.losses import Loss, find_loss
from tegu.learners.modules.trained import trained_module
from tegu.server.training.plan import TrainingPlan
from tegu.sim.data.cohort import draw_cohort
from tegu.sim.data.population import Population
from tegu.sim.data.trials import draw_trials
from tegu.sim.engine.predictions import Method, score
from tegu.sim.evaluation.baselines.module_features import row_features
from tegu.sim.evaluation.baselines.tuning import tuning_users
from tegu.sim.training.cross_fitting import Evaluator

__all__ = ["Joint", "examples_seen", "train_jointly", "unadapted"]

_RATES = (1.0, 0.3, 0.1, 0.03, 0.01, 0.003)
_BATCH = 32
_CHECKS = 10
_USERS = 500  # from whose episodes the mean number of rows is taken


class Joint(NamedTuple):
    """Jointly trained parameters.

    Attributes:
        meta: trained by all training users.
        evaluator: parameters trained in the same way, with users that had no part in it.
        rate: the first step size.
    """

    meta: Tree
    evaluator: Evaluator
    rate: float

    def __repr__(self) -> str:
        return f"Joint(rate={self.rate}, parameters={len(self.meta)})"


def examples_seen(train: Population, plan: TrainingPlan, user_rounds: int) -> int:
    """Rows of the episodes of a training with so many users' updates, on average over draws."""
    users = np.arange(min(len(train), _USERS))
    cohort = draw_cohort(train, users, plan.episodes, plan.seed, 1)
    return int(user_rounds * float((cohort.support + cohort.query).mean())) if len(cohort.users) else 0


def train_jointly(
    source: Source, start: Tree, train: Population, calibration: Population, examples: int, metric: Metric, seed: int
) -> Joint:
    """Train the module on the rows of all users, in random order.

    Args:
        source: the module, as checked for the spec of the users, and its loss.
        start: the parameters to start from. Fixed parameters and entries that the module does not have stay.
        train: users that train.
        calibration: users that choose the step size and when to stop, or `train` itself; see `tuning_users`.
        examples: number of rows seen.
        metric: that is to be best.
        seed: decides the order of the rows.
    """
    fitting, judging = tuning_users(train, calibration)
    trials = draw_trials(judging, 1, seed, 1)

    def figure(meta: Tree) -> float:
        mean = float(score(unadapted(source.module, meta), trials, metric).mean())
        return (mean if metric.higher_is_better else -mean) if np.isfinite(mean) else -np.inf

    def fit(users: Population, rate: float, rows: int) -> Sequence[Tree]:
        return _checkpoints(source, start, users, rate, rows, seed)

    best = max(_RATES, key=lambda tried: figure(fit(fitting, tried, examples // _CHECKS)[-1]))
    for rate in _RATES[_RATES.index(best) :]:
        each = fit(fitting, rate, examples)
        kept = int(np.argmax([figure(meta) for meta in each]))
        final = each if fitting is train else fit(train, rate, examples)
        if all(_is_finite(meta) for meta in (each[kept], final[kept])):
            break  # otherwise the training has diverged after its first tenth, or with more users
    return Joint(final[kept], Evaluator(each[kept], judging), rate)


def _is_finite(meta: Tree) -> bool:
    return all(bool(np.isfinite(value).all()) for value in meta.values())


def unadapted(module: nn.Module, meta: Tree) -> Method:
    """The method that predicts with the module and these parameters for everybody."""
    outputs = row_features(module, meta)
    return lambda trials: [outputs(trial.query.x)[0] for trial in trials.trials]


def _checkpoints(
    source: Source, start: Tree, users: Population, rate: float, examples: int, seed: int
) -> Sequence[Tree]:
    """The parameters after each tenth of the examples."""
    model = trained_module(source.module, start)
    loss, (x, y) = find_loss(source.loss, users.spec), map(torch.from_numpy, users.all_rows())
    trained = {name: each for name, each in model.named_parameters() if each.requires_grad}
    optimiser = torch.optim.SGD(trained.values(), lr=rate)
    steps = max(_CHECKS, examples // _BATCH)
    decay = torch.optim.lr_scheduler.LambdaLR(optimiser, lambda step: 1 - step / steps)
    batches = _batches(len(x), steps, seed)
    found: list[Tree] = []
    for step in range(steps):
        rows = torch.from_numpy(batches(step))
        optimiser.zero_grad()
        torch.autograd.backward(_row_losses(loss, model, x[rows], y[rows]).mean())
        optimiser.step()
        decay.step()
        if (step + 1) * _CHECKS // steps > len(found):
            found.append({**start, **{name: each.detach().numpy().copy() for name, each in trained.items()}})
    return found


def _batches(rows: int, steps: int, seed: int) -> Callable[[int], Array]:
    """From a step to the indices of its rows. Every row is seen once before any is seen again."""
    rng, size = keyed_rng("joint", seed), min(_BATCH, rows)
    epochs = -(-steps * size // rows)
    order = np.concatenate([rng.permutation(rows) for _ in range(epochs)])
    return lambda step: order[step * size : (step + 1) * size]


class _Plain(Applied):
    """A module that is called as torch calls it, so that gradients reach its own parameters."""

    def __call__(self, x: torch.Tensor) -> torch.Tensor:
        """The model's output for `x`."""
        output: torch.Tensor = self.model(x)
        return output


def _row_losses(loss: Loss, model: nn.Module, x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
    return loss(_Plain(model, {}), TorchBatch(x, y, torch.ones(len(x))), None)
