"""LSTM meta-learner: an LSTM whose cell state is the user's parameters takes the steps.

Ravi, Larochelle, "Optimization as a Model for Few-Shot Learning", ICLR 2017.

    adapt    theta_t = f_t * theta_(t-1) - i_t * gradient_t, K times; theta_0 is learned
    gates    i_t = sigmoid(W_i [h_t, theta_(t-1), i_(t-1)] + b_i), and f_t alike
    h_t      an ordinary LSTM of the gradient and the loss of the support, one of each entry of theta
    update   the gradient of the query's loss after adapting, for theta_0 and for both LSTMs

All entries of theta share one LSTM, with states of their own. It sees gradient and loss preprocessed (appendix A): with
p = 10, a number x becomes (log|x| / p, sign x), or (-1, e^p x) if |x| < e^-p. As in the paper, no derivative is taken
through what the LSTMs see of the learner (section 3.4), so that there are no second derivatives.

Entries of `meta`, for `hidden` units: of each gate of the LSTM, `/lstm/input/seen` `[hidden, 4]`,
`/lstm/input/recurrent` `[hidden, hidden]` and `/lstm/input/bias` `[hidden]`; `forget`, `cell` and `output` alike. Of f,
`/forget/hidden` `[hidden]`, `/forget/theta`, `/forget/before` and `/forget/bias` `[]`; of i, `/input/...` alike. They
start as gradient descent with a little weight decay: f is 0.993 and i is `lr`.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np
import torch
from torch import Tensor, nn
from torch.func import vjp

from tegu.core.data.batch import Array
from tegu.core.data.spec import Spec
from tegu.core.data.tree import Tree
from tegu.core.errors import DataError
from tegu.core.sampling.keyed_random import keyed_rng
from tegu.core.scalars import whole_number
from tegu.learners.algorithms.by_steps import learner_by_steps
from tegu.learners.inner_loop.adaptable import Adaptable, adaptable
from tegu.learners.inner_loop.gradient_steps import run_steps
from tegu.learners.learner import (
    CalibrationOptions,
    Iterated,
    Learner,
    TorchBatch,
    TorchKnobs,
    TorchTree,
)
from tegu.learners.modules.initial_values import Init
from tegu.learners.modules.losses import OutputLoss
from tegu.learners.modules.named_output import OutputName
from tegu.learners.operators.linear import matmul

__all__ = ["PAPER", "lstm_meta_learner", "preprocessed"]

PAPER = "Ravi and Larochelle 2017, Optimization as a Model for Few-Shot Learning, openreview.net/forum?id=rJY0-Kcll"
_RANGE = 10.0  # p of the preprocessing
_SPREAD = 0.01  # of the first weights, as in the paper's code
_FORGET = 5.0  # first bias of the forget gate, which in the paper's code lies between 4 and 6
_GATES = ("forget", "input")
_LSTM_GATES = ("input", "forget", "cell", "output")  # in torch's order
_SEEN = 4  # numbers that the LSTM sees of an entry: two of its gradient, two of the loss


def lstm_meta_learner(
    model: nn.Module,
    spec: Spec,
    *,
    loss: str | OutputLoss | None = None,
    adapted_parameters: Sequence[str] | None = None,
    steps: int = 5,
    lr: float = 0.1,
    hidden: int = 20,
    init: Init = "module",
    output: OutputName | None = None,
) -> Learner:
    """The LSTM meta-learner (Ravi and Larochelle 2017): an LSTM whose cell state is the parameters takes the steps.

    It takes any module that is a function of its parameters and its input.

    Args:
        model: as in `maml`.
        spec: the model's inputs and outputs.
        loss: as in `maml`.
        adapted_parameters: as in `maml`. Adapting takes the memory of `2 * hidden + 3` numbers for each of their
            entries.
        steps: number of inner steps in training, and the most that calibration tries on devices.
        lr: the first value of the input gate, above 0 and below 1.
        hidden: units of the LSTM that sees gradients and losses.
        init: as in `reptile`.
        output: as in `reptile`.

    Raises:
        CompileError: as `maml`.
        DataError: `lr` or `hidden` is out of range; or as `maml`.
        UnknownNameError: as `maml`.
    """
    if not 0 < lr < 1:
        raise DataError(f"lr is {lr}: expected a number above 0 and below 1, since it is the first value of a gate")
    hidden, steps = whole_number("hidden", hidden, 1), whole_number("steps", steps, 1)
    ready = adaptable(model, spec, loss, adapted_parameters, init, output)
    knobs = {"steps": float(steps)}
    adapt = _lstm_loop(ready, hidden)

    def objective(meta: TorchTree, support: TorchBatch, query: TorchBatch, noise: Tensor) -> tuple[Tensor, TorchTree]:
        del noise
        return ready.mean_loss(meta | run_steps(adapt, meta, support, knobs), query, support), {}

    tried = [{"steps": float(each)} for each in sorted({1, (steps + 1) // 2, steps})]
    calibration = CalibrationOptions(candidates=tried, row_losses=ready.row_losses)
    return replace(
        learner_by_steps("lstm_meta_learner", PAPER, spec, ready, knobs, adapt, objective, calibration, summed=False),
        init=lambda seed: {**ready.init(seed), **_first_entries(hidden, lr, seed)},
    )


def _first_entries(hidden: int, lr: float, seed: int) -> Tree:
    rng = keyed_rng("lstm meta-learner", seed)

    def drawn(*shape: int) -> Array:
        return np.asarray(rng.uniform(-_SPREAD, _SPREAD, shape), np.float32)

    biases = {"forget": _FORGET, "input": math.log(lr / (1 - lr))}
    found: dict[str, Array] = {}
    for gate in _LSTM_GATES:
        found |= {f"/lstm/{gate}/seen": drawn(hidden, _SEEN), f"/lstm/{gate}/recurrent": drawn(hidden, hidden)}
        found |= {f"/lstm/{gate}/bias": np.zeros(hidden, np.float32)}
    for gate in _GATES:
        found |= {f"/{gate}/hidden": drawn(hidden), f"/{gate}/theta": drawn(), f"/{gate}/before": drawn()}
        found |= {f"/{gate}/bias": np.asarray(biases[gate], np.float32)}
    return found


def _lstm_loop(ready: Adaptable, hidden: int) -> Iterated:
    """The carry holds theta and, by the names below, each entry's gates and the state of its LSTM `[..., hidden]`."""

    def begin(meta: TorchTree, support: TorchBatch) -> TorchTree:
        del support
        carry = {name: meta[name] for name in ready.adapted}
        for name in ready.adapted:
            zeros = torch.zeros_like(meta[name])
            wide = zeros.unsqueeze(-1) * zeros.new_zeros(hidden)
            carry |= {f"{name}/{gate}": zeros.clone() for gate in _GATES}
            carry |= {f"{name}/h": wide, f"{name}/c": wide.clone()}
        return carry

    def step(meta: TorchTree, carry: TorchTree, support: TorchBatch, knobs: TorchKnobs, noise: Tensor) -> TorchTree:
        del knobs, noise
        loss, slopes = _loss_and_gradient(ready, meta, {name: carry[name] for name in ready.adapted}, support)
        of_loss = preprocessed(loss)
        result: TorchTree = {}
        for name, slope in slopes.items():
            h, c = _lstm_cell(meta, (*preprocessed(slope), *of_loss), carry[f"{name}/h"], carry[f"{name}/c"])
            gates = {gate: _gate(meta, gate, h, carry[name], carry[f"{name}/{gate}"]) for gate in _GATES}
            result[name] = gates["forget"] * carry[name] - gates["input"] * slope
            result |= {f"{name}/{gate}": value for gate, value in gates.items()}
            result |= {f"{name}/h": h, f"{name}/c": c}
        return result

    return Iterated(begin, step, lambda carry: {name: carry[name] for name in ready.adapted})


def _loss_and_gradient(
    ready: Adaptable, meta: TorchTree, own: TorchTree, support: TorchBatch
) -> tuple[Tensor, TorchTree]:
    """The support's mean loss and its gradient, both without derivatives."""
    weights = support.mask / support.mask.sum().clamp(min=1)
    stopped = {name: value.detach() for name, value in (meta | own).items()}

    def rows_of(changed: TorchTree) -> Tensor:
        return ready.row_losses(stopped | changed, support)

    pulled = vjp(rows_of, {name: stopped[name] for name in own})
    gradient_of: Callable[[Tensor], tuple[TorchTree]] = pulled[1]
    (slopes,) = gradient_of(weights)
    return (pulled[0] * weights).sum().detach(), {name: slope.detach() for name, slope in slopes.items()}


def preprocessed(x: Tensor) -> tuple[Tensor, Tensor]:
    """Gradients or losses `[...]` as the LSTM sees them: size and sign, each `[...]` (the paper's appendix A)."""
    size, smallest = x.abs(), math.exp(-_RANGE)
    small = size < smallest
    first = torch.where(small, -torch.ones_like(x), size.clamp(min=smallest).log() / _RANGE)
    second = torch.where(small, x / smallest, x.sign())
    return first, second


def _lstm_cell(meta: TorchTree, seen: Sequence[Tensor], h: Tensor, c: Tensor) -> tuple[Tensor, Tensor]:
    # No torch.cat, and no part of an entry: batched over users by vmap, their gradients fix the number of users.
    places = torch.eye(_SEEN, device=h.device).unbind()
    inputs = functools.reduce(torch.add, (x.unsqueeze(-1) * place for x, place in zip(seen, places, strict=True)))

    def gate(name: str) -> Tensor:
        own = f"/lstm/{name}"
        return matmul(inputs, meta[f"{own}/seen"].T) + matmul(h, meta[f"{own}/recurrent"].T) + meta[f"{own}/bias"]

    taken, kept, new, shown = map(gate, _LSTM_GATES)
    c = torch.sigmoid(kept) * c + torch.sigmoid(taken) * torch.tanh(new)
    return torch.sigmoid(shown) * torch.tanh(c), c


def _gate(meta: TorchTree, gate: str, h: Tensor, theta: Tensor, before: Tensor) -> Tensor:
    of_state = matmul(h, meta[f"/{gate}/hidden"].unsqueeze(-1)).squeeze(-1)
    return torch.sigmoid(
        of_state + theta * meta[f"/{gate}/theta"] + before * meta[f"/{gate}/before"] + meta[f"/{gate}/bias"]
    )
