"""Bayesian MAML: particles that move by Stein variational gradient descent, trained by a chaser loss.

Yoon, Kim, Dia, Kim, Bengio, Ahn, "Bayesian Model-Agnostic Meta-Learning", 2018, arXiv:1806.03836. The steps are those
of Liu, Wang, "Stein Variational Gradient Descent", 2016, arXiv:1608.04471.

    adapt    K times, for all M particles at once: theta_m <- theta_m + lr * phi(theta_m), where
             phi(theta) = mean over j of  k(theta_j, theta) * score_j + gradient of k(theta_j, theta) by theta_j / n
             score_j    the gradient of the support's mean log-likelihood at theta_j; n is the support's rows
             k(a, b)    exp(-|a - b|^2 / h), h the median of the squared distances over log M
    update   the gradient of sum over m of |chaser_m - leader_m|^2, where the chaser is adapted to the support, and the
             leader takes further steps from there on support and query, as a constant

The first term draws particles to likely parameters, and the second keeps them apart. The log-likelihood of a row is its
loss, negated; n divides both terms, so that `lr` means what it does in MAML. The prior over parameters is flat: a few
steps from a learned start stay near it.

Entries of `meta`: `name` is the particles' centre and `name/offsets` `[particles, ...]` how each particle differs.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

import numpy as np
import torch
from torch import Tensor, nn
from torch.func import vmap

from tegu.core.data.batch import Array
from tegu.core.data.spec import Spec
from tegu.core.data.tree import Tree
from tegu.core.sampling.keyed_random import keyed_rng
from tegu.core.scalars import whole_number
from tegu.learners.algorithms.by_steps import learner_by_steps, step_size_candidates
from tegu.learners.algorithms.mixed_outputs import mixed_outputs
from tegu.learners.inner_loop.adaptable import Adaptable, adaptable
from tegu.learners.inner_loop.gradient_steps import concatenate, gradients, run_steps, step_size
from tegu.learners.learner import (
    Iterated,
    Learner,
    Members,
    TorchBatch,
    TorchKnobs,
    TorchTree,
)
from tegu.learners.modules.initial_values import Init
from tegu.learners.modules.losses import OutputLoss
from tegu.learners.modules.named_output import OutputName
from tegu.learners.operators.tensors.scans import median

__all__ = ["PAPER", "bayesian_maml"]

PAPER = "Yoon et al. 2018, Bayesian Model-Agnostic Meta-Learning, arXiv:1806.03836"
_RATE_FACTORS = (0.5, 1.0, 2.0, 4.0, 8.0)  # k of distant particles is near 0, so that a step is lr / particles
_SPREAD = 0.1  # of the particles around a module's values, relative to a parameter's standard deviation
_CONSTANT_SD = 0.1  # used for a parameter whose values are all equal
_MIN_DISTANCE = 1e-12
_OFFSETS = "/offsets"


def bayesian_maml(
    model: nn.Module,
    spec: Spec,
    *,
    loss: str | OutputLoss | None = None,
    adapted_parameters: Sequence[str] | None = None,
    steps: int = 5,
    lr: float = 0.1,
    prior: float = 0.0,
    particles: int = 5,
    leader_steps: int = 1,
    init: Init = "module",
    output: OutputName | None = None,
) -> Learner:
    """Bayesian MAML (Yoon et al. 2018, arXiv:1806.03836): particles that move by Stein variational gradient descent.

    It takes any module that is a function of its parameters and its input.

    The state holds all particles, `[particles, ...]` for each parameter that adapts; `predict` gives their mean: of
    values, or of probabilities.

    Args:
        model: as in `maml`.
        spec: the model's inputs and outputs.
        loss: as in `maml`; the negative log-likelihood of a row.
        adapted_parameters: as in `maml`. The others are shared by all particles, and follow the chaser loss.
        steps: number of the chaser's steps in training, and the default on devices.
        lr: step size.
        prior: as in `reptile`.
        particles: number of particles, at least 2; time and memory grow with it.
        leader_steps: number of the leader's further steps.
        init: as in `reptile`. "fresh" draws each particle by itself; "module" spreads them around the module's values.
        output: as in `reptile`.

    Raises:
        CompileError: as `maml`.
        DataError: `particles` is less than 2, or `leader_steps` less than 1; or as `maml`.
        UnknownNameError: as `maml`.
    """
    particles, leader_steps = whole_number("particles", particles, 2), whole_number("leader_steps", leader_steps, 1)
    ready = adaptable(model, spec, loss, adapted_parameters, init, output)
    knobs = {"steps": float(steps), "lr": lr, "prior": prior}
    adapt = _stein_descent(ready, particles)

    def objective(meta: TorchTree, support: TorchBatch, query: TorchBatch, noise: Tensor) -> tuple[Tensor, TorchTree]:
        del noise
        chaser = run_steps(adapt, meta, support, knobs)
        stopped = {name: value.detach() for name, value in (meta | chaser).items()}
        leader = {name: stopped[name] for name in chaser}
        rows = concatenate(support, query)
        for _ in range(leader_steps):
            leader = adapt.step(stopped, leader, rows, knobs, rows.mask[:0])
        distances = [(chaser[name] - leader[name].detach()).square().sum() for name in chaser]
        return functools.reduce(torch.add, distances), {}

    def outputs(meta: TorchTree, state: TorchTree, x: Tensor) -> list[Tensor]:
        return [ready.output(meta | {n: state[n][m] for n in ready.adapted}, x) for m in range(particles)]

    calibration = step_size_candidates(ready, knobs, _RATE_FACTORS)
    return replace(
        learner_by_steps("bayesian_maml", PAPER, spec, ready, knobs, adapt, objective, calibration, summed=False),
        init=lambda seed: _first_entries(ready, particles, seed, fresh=init == "fresh"),
        predict=lambda meta, state, x: mixed_outputs(spec.kind, [1 / particles] * particles, outputs(meta, state, x)),
        members=Members(particles, outputs),
    )


def _first_entries(ready: Adaptable, particles: int, seed: int, *, fresh: bool) -> Tree:
    centre = ready.init(seed)
    offsets: dict[str, list[Array]] = {}
    for number in range(1, particles):
        rng = keyed_rng("particle", seed, number)
        drawn = ready.init(int(rng.integers(2**31))) if fresh else {}
        for name in ready.adapted:
            size = _SPREAD * (float(centre[name].std()) or _CONSTANT_SD)
            own = drawn[name] - centre[name] if fresh else size * rng.standard_normal(centre[name].shape)
            offsets.setdefault(name, [np.zeros_like(centre[name])]).append(np.asarray(own, np.float32))
    return {**centre, **{f"{name}{_OFFSETS}": np.stack(each) for name, each in offsets.items()}}


def _stein_descent(ready: Adaptable, particles: int) -> Iterated:
    def begin(meta: TorchTree, support: TorchBatch) -> TorchTree:
        del support
        return {name: meta[name] + meta[f"{name}{_OFFSETS}"] for name in ready.adapted}

    def step(meta: TorchTree, carry: TorchTree, support: TorchBatch, knobs: TorchKnobs, noise: Tensor) -> TorchTree:
        del noise
        rate, rows = step_size(knobs, support), support.mask.sum().clamp(min=1)
        slopes = _each(
            ready, particles, carry, lambda own: gradients(ready.module, ready.loss, meta, own, support, rate)
        )
        flat = {name: value.flatten(1) for name, value in carry.items()}
        kernel, bandwidth = _kernel(flat, particles)
        result = {}
        for name, own in flat.items():
            drawn = kernel @ slopes[name].flatten(1)
            apart = kernel.sum(1, keepdim=True) * own - kernel @ own
            moved = -drawn + apart * (2 * rate / (rows * bandwidth))
            result[name] = carry[name] + (moved / particles).reshape(carry[name].shape)
        return result

    return Iterated(begin, step, lambda carry: carry)


def _each(ready: Adaptable, particles: int, carry: TorchTree, function: Callable[[TorchTree], TorchTree]) -> TorchTree:
    """The results of `function` for every particle, `[particles, ...]`."""
    if not any(isinstance(layer, _ONE_BY_ONE) for layer in ready.module.modules()):
        batched: TorchTree = vmap(function)(carry)
        return batched
    found = [function({name: value[number] for name, value in carry.items()}) for number in range(particles)]
    return {name: torch.stack([each[name] for each in found]) for name in carry}


_ONE_BY_ONE = (nn.modules.conv._ConvNd, nn.RNNBase)  # layers whose second derivative over particles is not exported


def _kernel(flat: Mapping[str, Tensor], particles: int) -> tuple[Tensor, Tensor]:
    """The kernel `[particles, particles]` of particles `[particles, entries]`, and its bandwidth, a constant."""
    distances = torch.zeros(())
    for own in flat.values():
        distances = distances + (own.unsqueeze(0) - own.unsqueeze(1)).square().sum(-1)
    pairs = torch.tensor([j * particles + m for m in range(particles) for j in range(m)])
    middle = median(distances.detach().flatten()[pairs], 0)[0]
    bandwidth = (middle / math.log(particles)).clamp(min=_MIN_DISTANCE)
    return torch.exp(-distances / bandwidth), bandwidth
