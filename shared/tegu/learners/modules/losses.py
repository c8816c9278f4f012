"""Losses a row, and their masked mean.

A `Loss` maps the model, as a function from inputs to outputs, a batch and what the user was adapted on (None while
adapting) to one value a row. It is given the model rather than its outputs because a ranking loss scores the whole
catalogue, and what was seen because an item that was clicked is not offered again. Only `masked_mean` knows of
padding, so a padded row can never count.

The ready-made losses are written out in plain arithmetic: `cross_entropy` and `nll_loss` of torch export gradients
that are wrong by up to 0.1 for more than one row.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias

import torch
from torch import Tensor

from tegu.core.data.batch import Batch
from tegu.core.data.spec import Kind, Spec
from tegu.core.errors import DataError, UnknownNameError
from tegu.learners.modules.functional import Applied
from tegu.learners.operators.exportable import PlainOperators, one_hot, softmax_cross_entropy

__all__ = ["LOSSES", "Loss", "OutputLoss", "checked_rows", "find_loss", "masked_mean"]

Loss: TypeAlias = Callable[[Applied, Batch[Tensor], "Batch[Tensor] | None"], Tensor]
OutputLoss: TypeAlias = Callable[[Tensor, Tensor], Tensor]

_OUT = -1e4  # added to a score: no probability is left, and no infinity enters a gradient


def cross_entropy(apply: Applied, batch: Batch[Tensor], seen: Batch[Tensor] | None = None) -> Tensor:
    """Softmax cross-entropy of logits `[rows, classes]` against labels `[rows]`."""
    del seen
    logits = apply(batch.x)
    return softmax_cross_entropy(logits, one_hot(batch.y, logits.shape[-1]))


def squared_error(apply: Applied, batch: Batch[Tensor], seen: Batch[Tensor] | None = None) -> Tensor:
    """Squared error of outputs `[rows, targets]`, averaged over the targets."""
    del seen
    return (apply(batch.x) - batch.y).square().mean(-1)


def click_softmax(items: int) -> Loss:
    """Implicit feedback: how probable the model holds each item among all unseen `items`, weighted by the feedback.

    The model maps item ids `[rows]` to scores `[rows]`. Multinomial likelihood as in Liang et al. 2018 (Mult-VAE).
    """

    def loss(apply: Applied, batch: Batch[Tensor], seen: Batch[Tensor] | None = None) -> Tensor:
        scores = apply.catalogue(items)
        if seen is not None:
            # Rows of one item add up, which changes nothing.
            scores = scores.index_put((seen.x,), _OUT * seen.mask, accumulate=True)
        return -torch.log_softmax(scores, -1)[batch.x] * batch.y

    return loss


LOSSES: dict[str, Callable[[Spec], Loss]] = {
    "cross_entropy": lambda spec: cross_entropy,
    "squared_error": lambda spec: squared_error,
    "click_softmax": lambda spec: click_softmax(spec.items),
}

_DEFAULT: dict[Kind, str] = {
    "classification": "cross_entropy",
    "regression": "squared_error",
    "ranking": "click_softmax",
}


def find_loss(loss: str | OutputLoss | None, spec: Spec) -> Loss:
    """A loss by name, from a callable, or the usual one for `spec.kind`.

    Args:
        loss: a name in `LOSSES`, or a callable `(output, y) -> [rows]`, or None for the kind's usual loss.
        spec: what the model takes and gives.

    Raises:
        UnknownNameError: no loss of that name.
        DataError: `click_softmax` where inputs are not item ids.
    """
    if loss is None:
        loss = _DEFAULT[spec.kind]
    if callable(loss):
        return _of_output(loss)
    if loss not in LOSSES:
        raise UnknownNameError("loss", loss, LOSSES)
    if loss == "click_softmax" and not spec.items:
        raise DataError(f"click_softmax needs item ids as inputs, and x is {spec.x}: use Spec.ranking(items)")
    return LOSSES[loss](spec)


def _of_output(rows: OutputLoss) -> Loss:
    def loss(apply: Applied, batch: Batch[Tensor], seen: Batch[Tensor] | None = None) -> Tensor:
        del seen
        output = apply(batch.x)
        with PlainOperators():
            return rows(output, batch.y)

    return loss


def masked_mean(loss: Loss, apply: Applied, batch: Batch[Tensor], seen: Batch[Tensor] | None = None) -> Tensor:
    """The mean of `loss` over real rows; 0 where there is none.

    Raises:
        DataError: the loss is not one value a row.
    """
    return (checked_rows(loss(apply, batch, seen), batch) * batch.mask).sum() / batch.mask.sum().clamp(min=1)


def checked_rows(rows: Tensor, batch: Batch[Tensor]) -> Tensor:
    """A loss, once it is known to be one value a row of `batch`.

    Raises:
        DataError: it is not.
    """
    if rows.shape != batch.mask.shape:
        raise DataError(
            f"the loss has shape {tuple(rows.shape)}: expected one value a row, {tuple(batch.mask.shape)}; "
            "use reduction='none' and average what is left over other axes"
        )
    return rows
