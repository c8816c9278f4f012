"""The inner loop: gradient steps on the support, in functional form, for SGD with momentum and for Adam."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Literal, TypeAlias

import torch
from torch import Tensor, nn
from torch.func import vjp

from tegu.core.errors import UnknownNameError
from tegu.learners.learner import Iterated, TorchBatch, TorchKnobs, TorchTree
from tegu.learners.modules.functional import Applied
from tegu.learners.modules.losses import Loss, checked_rows, masked_mean
from tegu.learners.modules.table_lookups import find_lookups
from tegu.learners.operators.exportable import joined
from tegu.learners.parameters.step_sizes import factor_of, learned_knobs
from tegu.learners.parameters.table_rows import begin_rows, fixed_entries, look_up, row_entries, rows_key

__all__ = [
    "InnerOptimiser",
    "concatenate",
    "gradients",
    "inner_loop",
    "mean_loss",
    "minibatch",
    "row_losses",
    "run_steps",
    "step_size",
]

InnerOptimiser: TypeAlias = Literal["sgd", "adam"]
_Step: TypeAlias = Callable[[TorchTree, TorchTree], TorchTree]

# torch's default epsilon of 1e-8 turns the rounding of a vanishing gradient into a whole step, in a direction that
# differs from one runtime to the next.
_BETA1, _BETA2, _EPSILON = 0.9, 0.999, 1e-4
_FLOOR = 1e-24  # a square root has no derivative at 0, and updates differentiate through adaptation


def mean_loss(
    model: nn.Module, loss: Loss, parameters: TorchTree, batch: TorchBatch, seen: TorchBatch | None = None
) -> Tensor:
    """The masked mean loss of the model with these parameters; `seen` is what they were adapted on."""
    return masked_mean(loss, Applied(model, parameters, look_up(parameters)), batch, seen)


def row_losses(model: nn.Module, loss: Loss, parameters: TorchTree, batch: TorchBatch) -> Tensor:
    """The loss of each row `[rows]` under these parameters.

    Raises:
        DataError: the loss is not one value a row.
    """
    return checked_rows(loss(Applied(model, parameters, look_up(parameters)), batch, None), batch)


def gradients(
    model: nn.Module, loss: Loss, parameters: TorchTree, moving: TorchTree, batch: TorchBatch, scale: Tensor | float = 1
) -> TorchTree:
    """Gradients of `scale` times the masked mean loss, with respect to `moving`, which replace those in `parameters`.

    The scale enters at the rows, so that no whole parameter need be multiplied by it, and the loss itself is not
    computed.

    Raises:
        DataError: the loss is not one value a row.
    """

    def rows(moved: TorchTree) -> Tensor:
        return row_losses(model, loss, parameters | moved, batch)

    pull: Callable[[Tensor], tuple[TorchTree]] = vjp(rows, moving)[1]
    return pull(batch.mask * (scale / batch.mask.sum().clamp(min=1)))[0]


def _key(slot: str, name: str) -> str:
    # Parameter names do not begin with these slots and a slash, so carry entries cannot collide with them.
    return f"{slot}/{name}"


def _sgd_step(momentum: float) -> _Step:
    """Heavy-ball SGD: v = momentum v + lr g, p = p - v; torch.optim.SGD's, whose v is smaller by a fixed lr."""

    def step(carry: TorchTree, scaled: TorchTree) -> TorchTree:
        if not momentum:
            return {name: carry[name] - g for name, g in scaled.items()}
        velocity = {name: momentum * carry[_key("velocity", name)] + g for name, g in scaled.items()}
        moved = {name: carry[name] - v for name, v in velocity.items()}
        return moved | {_key("velocity", name): v for name, v in velocity.items()}

    return step


def _adam_step(carry: TorchTree, plain: TorchTree, rates: TorchTree) -> TorchTree:
    """Adam (Kingma and Ba 2015) with torch.optim's default betas; each parameter has its step size in `rates`.

    The weights that each average has given out, 1 - beta^t, are carried: bias correction needs no exponentiation, and
    no difference of float32 numbers near 1.
    """
    given1 = _BETA1 * carry["/given1"] + (1 - _BETA1)
    given2 = _BETA2 * carry["/given2"] + (1 - _BETA2)
    out: TorchTree = {"/given1": given1, "/given2": given2}
    for name, g in plain.items():
        first = _BETA1 * carry[_key("first", name)] + (1 - _BETA1) * g
        second = _BETA2 * carry[_key("second", name)] + (1 - _BETA2) * g * g
        denominator = torch.sqrt(second / given2 + _FLOOR) + _EPSILON
        out[name] = carry[name] - rates[name] * (first / given1) / denominator
        out |= {_key("first", name): first, _key("second", name): second}
    return out


def _slots(inner: InnerOptimiser, momentum: float) -> tuple[str, ...]:
    if inner not in ("sgd", "adam"):
        raise UnknownNameError("inner optimiser", inner, ("sgd", "adam"))
    if inner == "adam":
        return "first", "second"
    return ("velocity",) if momentum else ()


def step_size(knobs: TorchKnobs, support: TorchBatch) -> Tensor:
    """`lr * n / (n + prior)` for n real rows, so that a handful of rows cannot carry the user far away."""
    rows = support.mask.sum()
    return knobs["lr"] * rows / (rows + knobs["prior"]).clamp(min=1)


def inner_loop(
    model: nn.Module,
    loss: Loss,
    fast: tuple[str, ...],
    inner: InnerOptimiser,
    momentum: float = 0.0,
    tables: tuple[str, ...] = (),
) -> Iterated:
    """`adapt` by gradient steps on the support's mean loss; only `fast` parameters move.

    Knobs: `steps`; `lr` and `prior`, how many interactions the initialisation counts for: see `step_size`. Both are
    multiplied by what `meta` has learned of them, if anything: see `tegu.learners.parameters.step_sizes`.

    Args:
        model: the module.
        loss: of rows.
        fast: names of the parameters that move.
        inner: the optimiser.
        momentum: of SGD.
        tables: those of `fast` that move row by row (`table_lookups.looked_up`): the state has the rows that
            the support looks up, see `table_rows`. Other rows have no gradient, so that no optimiser here
            would move them.

    Raises:
        UnknownNameError: `inner` is neither "sgd" nor "adam".
    """
    slots, sgd_step = _slots(inner, momentum), _sgd_step(momentum)
    moving = [rows_key(name) if name in tables else name for name in fast]
    result = [key for name in fast for key in (row_entries(name) if name in tables else (name,))]

    def begin(meta: TorchTree, support: TorchBatch) -> TorchTree:
        carry = {name: meta[name] for name in fast if name not in tables}
        lookups = find_lookups(model, loss, meta, support) if tables else {}
        for name in tables:
            carry |= begin_rows(name, meta[name], lookups[name])
        carry |= {_key(slot, name): torch.zeros_like(carry[name]) for slot in slots for name in moving}
        if inner == "adam":
            none = meta[fast[0]].new_zeros(())
            carry |= {"/given1": none, "/given2": none.clone()}
        return carry

    def step(meta: TorchTree, carry: TorchTree, support: TorchBatch, knobs: TorchKnobs, noise: Tensor) -> TorchTree:
        del noise
        rate = step_size(learned_knobs(meta, knobs), support)
        factors = {
            key: each for key, name in zip(moving, fast, strict=True) if (each := factor_of(meta, name)) is not None
        }
        fixed, own = fixed_entries(carry), {name: carry[name] for name in moving}
        if inner == "adam":
            rates = {name: rate * factors[name] if name in factors else rate for name in moving}
            return fixed | _adam_step(carry, gradients(model, loss, meta | fixed, own, support), rates)
        scaled = gradients(model, loss, meta | fixed, own, support, rate)
        return fixed | sgd_step(carry, scaled | {name: scaled[name] * each for name, each in factors.items()})

    return Iterated(begin, step, lambda carry: {name: carry[name] for name in result})


def run_steps(
    adapt: Iterated, meta: TorchTree, support: TorchBatch, knobs: Mapping[str, float], minibatches: int = 1
) -> TorchTree:
    """`adapt` with fixed knobs, unrolled: for use inside an `update`, where the number of steps is known.

    With `minibatches` above 1, step i sees the rows whose place is i modulo that number. Rows come in random order, so
    these are random minibatches without replacement, and nothing random need enter the graph.
    """
    carry = adapt.begin(meta, support)
    for i in range(int(knobs["steps"])):
        carry = adapt.step(meta, carry, minibatch(support, i, minibatches), knobs, torch.zeros(0))
    return adapt.finish(carry)


def concatenate(a: TorchBatch, b: TorchBatch) -> TorchBatch:
    """All rows of both batches, as one."""
    if b.mask.shape[0] == 0:
        return a
    return TorchBatch(*(joined(*parts) for parts in zip(a, b, strict=True)))


def minibatch(support: TorchBatch, step: int, minibatches: int) -> TorchBatch:
    """What a step sees; see `run_steps`."""
    if minibatches == 1:
        return support
    place = torch.arange(support.mask.shape[0])
    return support._replace(mask=support.mask * (place % minibatches == step % minibatches))
