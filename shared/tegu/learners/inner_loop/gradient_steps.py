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
from tegu.learners.operators.exportable import concatenate_rows
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

# With torch's default epsilon of 1e-8, rounding errors of a vanishing gradient would cause a step of full size, in a
# direction that differs between runtimes.
_BETA1, _BETA2, _EPSILON = 0.9, 0.999, 1e-4
_MIN_SQUARE = 1e-24  # the square root has no derivative at 0, and updates differentiate through adaptation


def mean_loss(
    model: nn.Module, loss: Loss, parameters: TorchTree, batch: TorchBatch, support: TorchBatch | None = None
) -> Tensor:
    """The masked mean loss of the model with these parameters; `support` is what they were adapted on."""
    return masked_mean(loss, Applied(model, parameters, look_up(parameters)), batch, support)


def row_losses(model: nn.Module, loss: Loss, parameters: TorchTree, batch: TorchBatch) -> Tensor:
    """The loss of each row `[rows]` under these parameters.

    Raises:
        DataError: the loss is not one value per row.
    """
    return checked_rows(loss(Applied(model, parameters, look_up(parameters)), batch, None), batch)


def gradients(
    model: nn.Module,
    loss: Loss,
    parameters: TorchTree,
    variables: TorchTree,
    batch: TorchBatch,
    scale: Tensor | float = 1,
) -> TorchTree:
    """Gradients of `scale` times the masked mean loss, with respect to `variables`.

    `variables` replace the entries of `parameters` with the same names. The scale multiplies the rows, which is cheaper
    than to multiply whole gradients. The loss itself is not computed.

    Raises:
        DataError: the loss is not one value per row.
    """

    def rows(changed: TorchTree) -> Tensor:
        return row_losses(model, loss, parameters | changed, batch)

    gradient_of: Callable[[Tensor], tuple[TorchTree]] = vjp(rows, variables)[1]
    return gradient_of(batch.mask * (scale / batch.mask.sum().clamp(min=1)))[0]


def _key(slot: str, name: str) -> str:
    # No parameter name begins with a slot and a slash, so carry entries cannot collide with parameters.
    return f"{slot}/{name}"


def _sgd_step(momentum: float) -> _Step:
    """Heavy-ball SGD: v = momentum v + lr g, p = p - v. With a fixed lr, it takes the steps of torch.optim.SGD."""

    def step(carry: TorchTree, scaled: TorchTree) -> TorchTree:
        if not momentum:
            return {name: carry[name] - g for name, g in scaled.items()}
        velocity = {name: momentum * carry[_key("velocity", name)] + g for name, g in scaled.items()}
        changed = {name: carry[name] - v for name, v in velocity.items()}
        return changed | {_key("velocity", name): v for name, v in velocity.items()}

    return step


def _adam_step(carry: TorchTree, plain: TorchTree, rates: TorchTree) -> TorchTree:
    """Adam (Kingma and Ba 2015) with torch.optim's default betas; `rates` holds the step size of each parameter.

    The carry holds the bias corrections 1 - beta^t. They are updated at each step, which avoids exponentiation and
    differences of float32 numbers near 1.
    """
    given1 = _BETA1 * carry["/given1"] + (1 - _BETA1)
    given2 = _BETA2 * carry["/given2"] + (1 - _BETA2)
    out: TorchTree = {"/given1": given1, "/given2": given2}
    for name, g in plain.items():
        first = _BETA1 * carry[_key("first", name)] + (1 - _BETA1) * g
        second = _BETA2 * carry[_key("second", name)] + (1 - _BETA2) * g * g
        denominator = torch.sqrt(second / given2 + _MIN_SQUARE) + _EPSILON
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
    """`lr * n / (n + prior)` for n real rows, so that users with few rows stay near the initialisation."""
    rows = support.mask.sum()
    return knobs["lr"] * rows / (rows + knobs["prior"]).clamp(min=1)


def inner_loop(
    model: nn.Module,
    loss: Loss,
    adapted: tuple[str, ...],
    inner: InnerOptimiser,
    momentum: float = 0.0,
    tables: tuple[str, ...] = (),
) -> Iterated:
    """`adapt` by gradient steps on the support's mean loss; only the parameters `adapted` change.

    Knobs: `steps`, `lr`, and `prior`, the number of interactions that the initialisation counts for: see `step_size`.
    `lr` and `prior` are multiplied by learned factors, if `meta` has any: see `tegu.learners.parameters.step_sizes`.

    Args:
        model: the module.
        loss: the loss per row.
        adapted: names of the parameters that adapt.
        inner: the inner optimiser.
        momentum: momentum of SGD.
        tables: the tables among `adapted` that adapt by rows (`table_lookups.find_row_tables`). The state holds the
            rows that the support looks up, see `table_rows`. Other rows have no gradient and do not change.

    Raises:
        UnknownNameError: `inner` is neither "sgd" nor "adam".
    """
    slots, sgd_step = _slots(inner, momentum), _sgd_step(momentum)
    changing = [rows_key(name) if name in tables else name for name in adapted]
    result = [key for name in adapted for key in (row_entries(name) if name in tables else (name,))]

    def begin(meta: TorchTree, support: TorchBatch) -> TorchTree:
        carry = {name: meta[name] for name in adapted if name not in tables}
        lookups = find_lookups(model, loss, meta, support) if tables else {}
        for name in tables:
            carry |= begin_rows(name, meta[name], lookups[name])
        carry |= {_key(slot, name): torch.zeros_like(carry[name]) for slot in slots for name in changing}
        if inner == "adam":
            zero = meta[adapted[0]].new_zeros(())
            carry |= {"/given1": zero, "/given2": zero.clone()}
        return carry

    def step(meta: TorchTree, carry: TorchTree, support: TorchBatch, knobs: TorchKnobs, noise: Tensor) -> TorchTree:
        del noise
        rate = step_size(learned_knobs(meta, knobs), support)
        factors = {
            key: each
            for key, name in zip(changing, adapted, strict=True)
            if (each := factor_of(meta, name)) is not None
        }
        fixed, own = fixed_entries(carry), {name: carry[name] for name in changing}
        if inner == "adam":
            rates = {name: rate * factors[name] if name in factors else rate for name in changing}
            return fixed | _adam_step(carry, gradients(model, loss, meta | fixed, own, support), rates)
        scaled = gradients(model, loss, meta | fixed, own, support, rate)
        return fixed | sgd_step(carry, scaled | {name: scaled[name] * each for name, each in factors.items()})

    return Iterated(begin, step, lambda carry: {name: carry[name] for name in result})


def run_steps(
    adapt: Iterated,
    meta: TorchTree,
    support: TorchBatch,
    knobs: Mapping[str, float],
    minibatches: int = 1,
    noise: Tensor | None = None,
) -> TorchTree:
    """`adapt` with fixed knobs, unrolled, for use inside an `update`; without `noise` for a learner that draws none.

    With `minibatches` above 1, step i uses the rows whose index is i modulo that number. Rows are in random
    order, or in that of labels and in random order within one, so these are random minibatches without replacement,
    and the graph needs no random numbers.
    """
    carry = adapt.begin(meta, support)
    part = minibatch if fixed_entries(carry) else _own_rows  # tables adapt at the places of all rows
    for i in range(int(knobs["steps"])):
        rows = part(support, i, minibatches)
        carry = adapt.step(meta, carry, rows, knobs, torch.zeros(0) if noise is None else noise)
    return adapt.finish(carry)


def concatenate(a: TorchBatch, b: TorchBatch) -> TorchBatch:
    """One batch with the rows of both."""
    if b.mask.shape[0] == 0:
        return a
    return TorchBatch(*(concatenate_rows(*parts) for parts in zip(a, b, strict=True)))


def minibatch(support: TorchBatch, step: int, minibatches: int) -> TorchBatch:
    """The support with only the rows of this step unmasked; see `run_steps`."""
    if minibatches == 1:
        return support
    index = torch.arange(support.mask.shape[0])
    return support._replace(mask=support.mask * (index % minibatches == step % minibatches))


def _own_rows(support: TorchBatch, step: int, minibatches: int) -> TorchBatch:
    """The rows of `minibatch` alone, where their number is known: a graph is for any number of rows."""
    rows: object = support.mask.shape[0]
    if isinstance(rows, int) and rows >= minibatches:
        return TorchBatch(*(each[step % minibatches :: minibatches] for each in support))
    return minibatch(support, step, minibatches)
