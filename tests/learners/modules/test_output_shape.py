"""Outputs whose shape means the same as the spec's: one logit for two classes, and a single target without an axis."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F  # noqa: N812
from tests.learners.toys import FEATURES, mlp
from torch import Tensor, nn

from tegu.core.data.batch import Batch
from tegu.core.data.spec import Spec
from tegu.core.errors import DataError
from tegu.learners import reptile
from tegu.learners.modules.checks import checked_module
from tegu.learners.modules.functional import Applied
from tegu.learners.modules.losses import find_loss

BINARY = Spec.classification((FEATURES,), 2)
X, Y = torch.randn(6, FEATURES), torch.tensor([0, 1, 1, 0, 1, 0])


def loss_and_gradients(model: nn.Module, spec: Spec, y: Tensor) -> tuple[Tensor, list[Tensor]]:
    parameters = {name: value.detach().requires_grad_() for name, value in model.named_parameters()}
    batch = Batch(X, y, torch.ones(6))
    loss = find_loss(None, spec)(Applied(checked_module(model, spec), parameters), batch, None)
    return loss.detach(), list(torch.autograd.grad(loss.sum(), list(parameters.values())))


@pytest.mark.parametrize("flat", [False, True])
def test_one_logit_is_trained_by_binary_cross_entropy(flat: bool) -> None:
    model = nn.Sequential(*mlp(1), nn.Flatten(0)) if flat else mlp(1)
    expected = F.binary_cross_entropy_with_logits(model(X).reshape(-1), Y.float(), reduction="none")
    loss, gradients = loss_and_gradients(model, BINARY, Y)
    torch.testing.assert_close(loss, expected.detach())
    torch.testing.assert_close(gradients, list(torch.autograd.grad(expected.sum(), list(model.parameters()))))


def test_one_logit_becomes_the_second_of_two() -> None:
    model = mlp(1)
    logits = checked_module(model, BINARY)(X)
    torch.testing.assert_close(logits, torch.cat([torch.zeros(6, 1), model(X)], 1))
    torch.testing.assert_close(checked_module(checked_module(model, BINARY), BINARY)(X), logits)


def test_several_labels_are_trained_by_binary_cross_entropy() -> None:
    spec, model = Spec.multilabel((FEATURES,), 3), mlp(3)
    y = torch.randint(2, (6, 3)).float()
    expected = F.binary_cross_entropy_with_logits(model(X), y, reduction="none").mean(-1)
    loss, gradients = loss_and_gradients(model, spec, y)
    torch.testing.assert_close(loss, expected.detach())
    torch.testing.assert_close(gradients, list(torch.autograd.grad(expected.sum(), list(model.parameters()))))


def test_a_single_target_may_leave_out_its_axis() -> None:
    model = nn.Sequential(*mlp(1), nn.Flatten(0))
    torch.testing.assert_close(checked_module(model, Spec.regression((FEATURES,)))(X), model(X)[:, None])


def test_one_output_for_three_classes_is_refused() -> None:
    with pytest.raises(DataError, match=r"\(3, 1\).*classification expects.*\(3, 3\)"):
        reptile(mlp(1), Spec.classification((FEATURES,), 3))
