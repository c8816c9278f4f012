"""The inner loop: gradient steps on the support, in functional form, for SGD with momentum and for Adam."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Literal, TypeAlias

import torch
from torch import Tensor, nn
from torch.func import grad

from tegu.core.errors import UnknownNameError
from tegu.learners.learner import Iterated, TorchBatch, TorchKnobs, TorchTree
from tegu.learners.losses import Loss, masked_mean
from tegu.learners.model import Applied

__all__ = ["InnerOptimiser", "inner_loop", "mean_loss", "run_steps"]

InnerOptimiser: TypeAlias = Literal["sgd", "adam"]
_Gradient: TypeAlias = Callable[[Tensor | float], TorchTree]  # of the loss times a factor
_Step: TypeAlias = Callable[[TorchTree, _Gradient, Tensor | float], TorchTree]

# torch's default epsilon of 1e-8 turns the rounding of a vanishing gradient into a whole step, in a direction that
# differs from one runtime to the next.
_BETA1, _BETA2, _EPSILON = 0.9, 0.999, 1e-4
_FLOOR = 1e-24  # a square root has no derivative at 0, and updates differentiate through adaptation


def mean_loss(
    model: nn.Module, loss: Loss, parameters: TorchTree, batch: TorchBatch, seen: TorchBatch | None = None
) -> Tensor:
    """The masked mean loss of the model with these parameters; `seen` is what they were adapted on."""
    return masked_mean(loss, Applied(model, parameters), batch, seen)


def _key(slot: str, name: str) -> str:
    # Parameter names never hold a slash, so carry entries cannot collide with them.
    return f"{slot}/{name}"


def _sgd_step(carry: TorchTree, gradient: _Gradient, lr: Tensor | float) -> TorchTree:
    # A rate inside the loss is one product, outside it one a parameter.
    return {name: carry[name] - move for name, move in gradient(lr).items()}


def _momentum_step(momentum: float) -> _Step:
    """Heavy-ball SGD as in torch.optim.SGD: v = momentum v + g, p = p - lr v."""

    def step(carry: TorchTree, gradient: _Gradient, lr: Tensor | float) -> TorchTree:
        velocity = {name: momentum * carry[_key("velocity", name)] + g for name, g in gradient(1.0).items()}
        moved = {name: carry[name] - lr * v for name, v in velocity.items()}
        return moved | {_key("velocity", name): v for name, v in velocity.items()}

    return step


def _adam_step(carry: TorchTree, gradient: _Gradient, lr: Tensor | float) -> TorchTree:
    """Adam (Kingma and Ba 2015) with torch.optim's default betas.

    The weights that each average has given out, 1 - beta^t, are carried: bias correction needs no exponentiation, and
    no difference of float32 numbers near 1.
    """
    given1 = _BETA1 * carry["/given1"] + (1 - _BETA1)
    given2 = _BETA2 * carry["/given2"] + (1 - _BETA2)
    out: TorchTree = {"/given1": given1, "/given2": given2}
    for name, g in gradient(1.0).items():
        first = _BETA1 * carry[_key("first", name)] + (1 - _BETA1) * g
        second = _BETA2 * carry[_key("second", name)] + (1 - _BETA2) * g * g
        denominator = torch.sqrt(second / given2 + _FLOOR) + _EPSILON
        out[name] = carry[name] - lr * (first / given1) / denominator
        out |= {_key("first", name): first, _key("second", name): second}
    return out


def _slots(inner: InnerOptimiser, momentum: float) -> tuple[_Step, tuple[str, ...]]:
    if inner == "adam":
        return _adam_step, ("first", "second")
    if inner == "sgd":
        return (_momentum_step(momentum), ("velocity",)) if momentum else (_sgd_step, ())
    raise UnknownNameError("inner optimiser", inner, ("sgd", "adam"))


def inner_loop(
    model: nn.Module, loss: Loss, fast: tuple[str, ...], inner: InnerOptimiser, momentum: float = 0.0
) -> Iterated:
    """`adapt` by gradient steps on the support's mean loss; only `fast` parameters move.

    Knobs: `steps`; `lr`, the step size; `prior`, how many interactions the initialisation counts for. With n real rows
    the step taken is `lr * n / (n + prior)`, so that a handful of rows cannot carry the user far away.

    Raises:
        UnknownNameError: `inner` is neither "sgd" nor "adam".
    """
    optimise, slots = _slots(inner, momentum)

    def begin(meta: TorchTree) -> TorchTree:
        carry = {name: meta[name] for name in fast}
        carry |= {_key(slot, name): torch.zeros_like(meta[name]) for slot in slots for name in fast}
        if inner == "adam":
            none = meta[fast[0]].new_zeros(())
            carry |= {"/given1": none, "/given2": none.clone()}
        return carry

    def step(meta: TorchTree, carry: TorchTree, support: TorchBatch, knobs: TorchKnobs, noise: Tensor) -> TorchTree:
        del noise
        rows = support.mask.sum()

        def gradient(factor: Tensor | float) -> TorchTree:
            moving = {name: carry[name] for name in fast}
            found: TorchTree = grad(lambda p: factor * mean_loss(model, loss, meta | p, support))(moving)
            return found

        return optimise(carry, gradient, knobs["lr"] * rows / (rows + knobs["prior"]).clamp(min=1))

    return Iterated(begin, step, lambda carry: {name: carry[name] for name in fast})


def run_steps(
    adapt: Iterated, meta: TorchTree, support: TorchBatch, knobs: Mapping[str, float], minibatches: int = 1
) -> TorchTree:
    """`adapt` with fixed knobs, unrolled: for use inside an `update`, where the number of steps is known.

    With `minibatches` above 1, step i sees the rows whose place is i modulo that number. Rows come in random order, so
    these are random minibatches without replacement, and nothing random need enter the graph.
    """
    place = torch.arange(support.mask.shape[0])
    carry = adapt.begin(meta)
    for i in range(int(knobs["steps"])):
        seen = support
        if minibatches > 1:
            seen = support._replace(mask=support.mask * (place % minibatches == i % minibatches))
        carry = adapt.step(meta, carry, seen, knobs, torch.zeros(0))
    return adapt.finish(carry)
