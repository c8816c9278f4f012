"""PLATIPUS: a learned distribution of initialisations, from which a user's are drawn.

Finn, Xu, Levine, "Probabilistic Model-Agnostic Meta-Learning", 2018, arXiv:1806.02817.

    prior      p = N(mu - gamma_p * gradient of the support's loss at mu, sigma^2)
    posterior  q = N(mu - gamma_q * gradient of the query's loss at mu, v^2), in training only
    adapt      draw theta from p, then K steps of gradient descent on the support from theta; once for each sample
    update     the gradient of: the query's loss after adapting from one theta drawn from q, plus kl_weight * KL(q || p)

This is algorithm 1 of the paper for training and algorithm 2 for a device. Both distributions are normal with learned
standard deviations, amortised by one gradient step. The losses are means over rows, so KL, a sum over all entries,
has a weight.

Entries of `meta` for a parameter `name` that adapts: `name` is mu, `name/log_sigma` and `name/log_v` have its shape.
`/log_gamma_p` and `/log_gamma_q` `[]` are shared.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import torch
from torch import Tensor, nn

from tegu.core.data.batch import Array
from tegu.core.data.spec import Spec
from tegu.core.data.tree import Tree
from tegu.core.errors import DataError
from tegu.core.scalars import whole_number
from tegu.learners.algorithms.by_steps import learner_by_steps, step_size_candidates
from tegu.learners.algorithms.mixed_outputs import mixed_outputs
from tegu.learners.inner_loop.adaptable import Adaptable, adaptable
from tegu.learners.inner_loop.gradient_steps import gradients, inner_loop, run_steps
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
from tegu.learners.parameters.copies import copy_of, merge_copies

__all__ = ["PAPER", "platipus"]

PAPER = "Finn et al. 2018, Probabilistic Model-Agnostic Meta-Learning (PLATIPUS), arXiv:1806.02817"
_FIRST_SIGMA = 0.02  # of both distributions
_SIGMA, _V, _GAMMA = "/log_sigma", "/log_v", "/log_gamma"


def platipus(
    model: nn.Module,
    spec: Spec,
    *,
    loss: str | OutputLoss | None = None,
    adapted_parameters: Sequence[str] | None = None,
    steps: int = 5,
    lr: float = 0.1,
    prior: float = 0.0,
    samples: int = 5,
    kl_weight: float = 1e-4,
    init: Init = "module",
    output: OutputName | None = None,
) -> Learner:
    """PLATIPUS (Finn et al. 2018, arXiv:1806.02817): draw a user's initialisations from a learned distribution.

    It takes any module that is a function of its parameters and its input.

    The state holds `samples` sets of parameters, `0/<name>`, `1/<name>` and so on; `predict` gives their mean: of
    values, or of probabilities.

    Args:
        model: as in `maml`.
        spec: the model's inputs and outputs.
        loss: as in `maml`.
        adapted_parameters: as in `maml`. The others have no distribution, and follow the query's loss.
        steps: number of inner steps in training, and the default on devices.
        lr: step size of the inner steps, and the first value of both gammas.
        prior: as in `reptile`.
        samples: sets of parameters that a device draws; its time and memory grow with them.
        kl_weight: weight of the divergence in training.
        init: as in `reptile`.
        output: as in `reptile`.

    Raises:
        CompileError: as `maml`.
        DataError: `samples` is less than 1, or `kl_weight` or `lr` is out of range; or as `maml`.
        UnknownNameError: as `maml`.
    """
    samples = whole_number("samples", samples, 1)
    if not (0 <= kl_weight < math.inf and 0 < lr < math.inf):
        raise DataError(f"kl_weight is {kl_weight} and lr {lr}: expected a weight from 0 on and a step size above 0")
    ready = adaptable(model, spec, loss, adapted_parameters, init, output)
    knobs = {"steps": float(steps), "lr": lr, "prior": prior}
    descent = inner_loop(ready.module, ready.loss, ready.adapted, "sgd")
    first = ready.init(0)
    sizes = {name: first[name].shape for name in ready.adapted}
    entries = sum(math.prod(shape) for shape in sizes.values())

    def objective(meta: TorchTree, support: TorchBatch, query: TorchBatch, noise: Tensor) -> tuple[Tensor, TorchTree]:
        before, after = _moved(ready, meta, support, "p"), _moved(ready, meta, query, "q")
        drawn = _drawn(after, _of(meta, after, _V), noise[:entries])
        adapted = run_steps(descent, meta | drawn, support, knobs)
        divergence = _kl(after, _of(meta, after, _V), before, _of(meta, after, _SIGMA))
        return ready.mean_loss(meta | adapted, query, support) + kl_weight * divergence, {}

    def outputs(meta: TorchTree, state: TorchTree, x: Tensor) -> list[Tensor]:
        return [ready.output(meta | copy_of(state, number), x) for number in range(samples)]

    calibration, adapt = step_size_candidates(ready, knobs), _sampled(ready, descent, samples, entries)
    return replace(
        learner_by_steps("platipus", PAPER, spec, ready, knobs, adapt, objective, calibration, summed=False),
        adapted_parameters=tuple(f"{number}/{name}" for number in range(samples) for name in ready.adapted),
        init=lambda seed: {**ready.init(seed), **_first_entries(sizes, lr)},
        predict=lambda meta, state, x: mixed_outputs(spec.kind, [1 / samples] * samples, outputs(meta, state, x)),
        noise=samples * entries,
        members=Members(samples, outputs),
    )


def _first_entries(shapes: dict[str, tuple[int, ...]], lr: float) -> Tree:
    def filled(shape: tuple[int, ...], value: float) -> Array:
        return np.full(shape, math.log(value), np.float32)

    widths = {f"{name}{end}": filled(shape, _FIRST_SIGMA) for name, shape in shapes.items() for end in (_SIGMA, _V)}
    return {**widths, f"{_GAMMA}_p": filled((), lr), f"{_GAMMA}_q": filled((), lr)}


def _sampled(ready: Adaptable, descent: Iterated, samples: int, entries: int) -> Iterated:
    """Draws initialisations in the first step, and takes `descent`'s steps from each.

    The carry holds the members and `/first`, which is 1 before the first step and 0 after it: without steps, a user's
    state is the mean of the distribution of initialisations.
    """

    def begin(meta: TorchTree, support: TorchBatch) -> TorchTree:
        del support
        members = [{name: meta[name] for name in ready.adapted} for _ in range(samples)]
        return {**merge_copies(members), "/first": meta[ready.adapted[0]].new_ones(())}

    def step(meta: TorchTree, carry: TorchTree, support: TorchBatch, knobs: TorchKnobs, noise: Tensor) -> TorchTree:
        moved = _moved(ready, meta, support, "p")
        widths, result = _of(meta, moved, _SIGMA), {"/first": carry["/first"] * 0.0}
        for number in range(samples):
            drawn = _drawn(moved, widths, noise[number * entries : (number + 1) * entries])
            before = copy_of(carry, number)
            begun = {name: torch.lerp(before[name], drawn[name], carry["/first"]) for name in before}
            after = descent.step(meta, begun, support, knobs, noise)
            result |= {f"{number}/{name}": value for name, value in after.items()}
        return result

    return Iterated(begin, step, lambda carry: {name: carry[name] for name in carry if name != "/first"})


def _moved(ready: Adaptable, meta: TorchTree, batch: TorchBatch, which: str) -> TorchTree:
    """The mean of the prior "p" or of the posterior "q": mu after one step on `batch`."""
    gamma = meta[f"{_GAMMA}_{which}"].exp()
    own = {name: meta[name] for name in ready.adapted}
    scaled = gradients(ready.module, ready.loss, meta, own, batch, gamma)
    return {name: value - scaled[name] for name, value in own.items()}


def _of(meta: TorchTree, tree: TorchTree, end: str) -> TorchTree:
    """The logarithms of the standard deviations of the entries of `tree`."""
    return {name: meta[f"{name}{end}"] for name in tree}


def _drawn(means: TorchTree, log_widths: TorchTree, noise: Tensor) -> TorchTree:
    """Normal numbers, from standard normal ones `[entries]`."""
    found, start = {}, 0
    for name, mean in means.items():
        own = noise[start : start + mean.numel()].reshape(mean.shape)
        found[name] = mean + log_widths[name].exp() * own
        start += mean.numel()
    return found


def _kl(mean: TorchTree, log_width: TorchTree, other: TorchTree, other_log_width: TorchTree) -> Tensor:
    """KL(N(mean, width^2) || N(other, other_width^2)), summed over all entries."""
    total = torch.zeros(())
    for name, value in mean.items():
        ratio = log_width[name] - other_log_width[name]
        distance = (value - other[name]).square() * (-2 * other_log_width[name]).exp()
        total = total + 0.5 * ((2 * ratio).exp() + distance - 1 - 2 * ratio).sum()
    return total
