"""Losses of torch.nn.functional, without reduction."""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F  # noqa: N812
from tests.zoo.entry import NUMBERS, Entry, mlp
from torch import Tensor, nn

from tegu.core.data.spec import Spec

REGRESSION = Spec.regression((4,), 2)


def _outputs() -> nn.Module:
    return nn.Sequential(nn.Linear(4, 6), nn.Tanh(), nn.Linear(6, 2))


def _of_targets(name: str, loss: Callable[[Tensor, Tensor], Tensor]) -> Entry:
    return Entry(name, _outputs, REGRESSION, lambda output, y: loss(output, y).mean(-1))


def _of_labels(name: str, loss: Callable[[Tensor, Tensor], Tensor]) -> Entry:
    return Entry(name, lambda: mlp(nn.Tanh()), NUMBERS, loss)


def _focal(output: Tensor, y: Tensor) -> Tensor:
    rows = F.cross_entropy(output, y, reduction="none")
    return (1 - torch.exp(-rows)) ** 2 * rows


LOSSES = [
    _of_targets("l1_loss", lambda output, y: F.l1_loss(output, y, reduction="none")),
    _of_targets("mse_loss", lambda output, y: F.mse_loss(output, y, reduction="none")),
    _of_targets("smooth_l1_loss", lambda output, y: F.smooth_l1_loss(output, y, reduction="none", beta=0.5)),
    _of_targets("huber_loss", lambda output, y: F.huber_loss(output, y, reduction="none", delta=0.7)),
    _of_targets("poisson_nll_loss", lambda output, y: F.poisson_nll_loss(output, y.abs(), reduction="none")),
    _of_targets("log cosh", lambda output, y: torch.log(torch.cosh(output - y))),
    _of_targets("pinball", lambda output, y: torch.maximum(0.9 * (y - output), -0.1 * (y - output))),
    _of_targets(
        "binary_cross_entropy_with_logits",
        lambda output, y: F.binary_cross_entropy_with_logits(output, (y > 0).to(output.dtype), reduction="none"),
    ),
    _of_targets(
        "binary_cross_entropy",
        lambda output, y: F.binary_cross_entropy(torch.sigmoid(output), (y > 0).to(output.dtype), reduction="none"),
    ),
    _of_targets("soft_margin_loss", lambda output, y: F.soft_margin_loss(output, y.sign(), reduction="none")),
    _of_targets("hinge_embedding_loss", lambda output, y: F.hinge_embedding_loss(output, y.sign(), reduction="none")),
    _of_targets(
        "gaussian_nll_loss",
        lambda output, y: F.gaussian_nll_loss(
            output[:, :1], y[:, :1], F.softplus(output[:, 1:]) + 0.1, reduction="none"
        ),
    ),
    _of_labels("cross_entropy", lambda output, y: F.cross_entropy(output, y, reduction="none")),
    _of_labels(
        "cross_entropy with label smoothing",
        lambda output, y: F.cross_entropy(output, y, reduction="none", label_smoothing=0.1),
    ),
    _of_labels(
        "cross_entropy with class weights",
        lambda output, y: F.cross_entropy(output, y, weight=output.new_tensor([0.5, 1.0, 2.0]), reduction="none"),
    ),
    _of_labels("nll_loss", lambda output, y: F.nll_loss(F.log_softmax(output, -1), y, reduction="none")),
    _of_labels("focal", _focal),
    _of_labels("multi_margin_loss", lambda output, y: F.multi_margin_loss(output, y, reduction="none")),
    _of_labels(
        "kl_div",
        lambda output, y: F.kl_div(F.log_softmax(output, -1), F.one_hot(y, 3) * 0.7 + 0.1, reduction="none").sum(-1),
    ),
]
