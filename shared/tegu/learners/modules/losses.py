"""Losses per row, and their masked mean.

A `Loss` maps the model (as a function from inputs to outputs), a batch and the support to one value per row. The
support is what the user was adapted on; it is None during adaptation. A loss receives the model rather than its
outputs, because a ranking loss scores the whole catalogue. It receives the support, because items that were clicked
are not recommended again. Only `masked_mean` handles padding, so padded rows never count.

The built-in losses are written in plain arithmetic: torch's `cross_entropy` and `nll_loss` export gradients that are
wrong by up to 0.1 for more than one row.
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

__all__ = ["LOSSES", "Loss", "OutputLoss", "checked_rows", "click_confidence", "find_loss", "masked_mean"]

Loss: TypeAlias = Callable[[Applied, Batch[Tensor], "Batch[Tensor] | None"], Tensor]
OutputLoss: TypeAlias = Callable[[Tensor, Tensor], Tensor]

_EXCLUDED_SCORE = -1e4  # added to a score: makes its probability 0 without infinities in gradients


def cross_entropy(apply: Applied, batch: Batch[Tensor], support: Batch[Tensor] | None = None) -> Tensor:
    """Softmax cross-entropy of logits `[rows, classes]` against labels `[rows]`."""
    del support
    logits = apply(batch.x)
    return softmax_cross_entropy(logits, one_hot(batch.y, logits.shape[-1]))


def binary_cross_entropy(apply: Applied, batch: Batch[Tensor], support: Batch[Tensor] | None = None) -> Tensor:
    """Binary cross-entropy of logits `[rows, labels]` against labels of 0 and 1, averaged over the labels."""
    del support
    logits, labels = apply(batch.x), batch.y
    second = torch.arange(2, dtype=logits.dtype, device=logits.device)
    pairs = logits.unsqueeze(-1) * second  # the softmax of 0 and z is the sigmoid of z
    targets = (1 - labels).unsqueeze(-1) * (1 - second) + labels.unsqueeze(-1) * second
    return softmax_cross_entropy(pairs.reshape(-1, 2), targets.reshape(-1, 2)).reshape(labels.shape).mean(-1)


def squared_error(apply: Applied, batch: Batch[Tensor], support: Batch[Tensor] | None = None) -> Tensor:
    """Squared error of outputs `[rows, targets]`, averaged over the targets."""
    del support
    return (apply(batch.x) - batch.y).square().mean(-1)


def click_softmax(items: int) -> Loss:
    """Implicit feedback: cross-entropy of each item among all unseen `items`, weighted by confidence in it.

    The model maps item ids `[rows]` to scores `[rows]`. Multinomial likelihood as in Liang et al. 2018 (Mult-VAE). The
    confidence in feedback `y` is that of `tegu.core.data.confidence`: 1 for a click, 1 + ln(y) for `y` plays.
    """

    def loss(apply: Applied, batch: Batch[Tensor], support: Batch[Tensor] | None = None) -> Tensor:
        scores = apply.catalogue(items)
        if support is not None:
            # Repeated rows of an item accumulate, which is harmless: the item stays excluded.
            scores = scores.index_put((support.x,), _EXCLUDED_SCORE * support.mask, accumulate=True)
        return -torch.log_softmax(scores, -1)[batch.x] * click_confidence(batch.y)

    return loss


def click_confidence(weights: Tensor) -> Tensor:
    """How much feedback counts, `[rows]`: as `tegu.core.data.confidence`, in torch."""
    return weights.clamp(max=1) + weights.clamp(min=1).log()


LOSSES: dict[str, Callable[[Spec], Loss]] = {
    "cross_entropy": lambda spec: cross_entropy,
    "binary_cross_entropy": lambda spec: binary_cross_entropy,
    "squared_error": lambda spec: squared_error,
    "click_softmax": lambda spec: click_softmax(spec.items),
}

_DEFAULT: dict[Kind, str] = {
    "classification": "cross_entropy",
    "multilabel": "binary_cross_entropy",
    "regression": "squared_error",
    "ranking": "click_softmax",
}


def find_loss(loss: str | OutputLoss | None, spec: Spec) -> Loss:
    """The loss with a given name, a loss from a callable, or the default loss of `spec.kind`.

    Args:
        loss: a name in `LOSSES`, or a callable `(output, y) -> [rows]`, or None for the default loss.
        spec: the model's inputs and outputs.

    Raises:
        UnknownNameError: no loss of that name.
        DataError: `click_softmax` was chosen, and inputs are not item ids.
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
    def loss(apply: Applied, batch: Batch[Tensor], support: Batch[Tensor] | None = None) -> Tensor:
        del support
        output = apply(batch.x)
        with PlainOperators():
            return rows(output, batch.y)

    return loss


def masked_mean(loss: Loss, apply: Applied, batch: Batch[Tensor], support: Batch[Tensor] | None = None) -> Tensor:
    """The mean of `loss` over real rows, a scalar; 0 if there are none.

    Raises:
        DataError: the loss is not one value per row.
    """
    return (checked_rows(loss(apply, batch, support), batch) * batch.mask).sum() / batch.mask.sum().clamp(min=1)


def checked_rows(rows: Tensor, batch: Batch[Tensor]) -> Tensor:
    """Check that a loss has one value per row of `batch`, and return it.

    Raises:
        DataError: the loss has another shape.
    """
    if rows.shape != batch.mask.shape:
        raise DataError(
            f"the loss has shape {tuple(rows.shape)}: expected one value a row, {tuple(batch.mask.shape)}; "
            "use reduction='none' and average over all axes but the first"
        )
    return rows
