"""Linear layers and products on any number of axes have the values and gradients of torch's."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F  # noqa: N812
from torch import nn

from tegu.core.data.spec import Spec
from tegu.learners.inner_loop.dual_steps import find_dual_layers
from tegu.learners.modules.features import forward_with_features
from tegu.learners.modules.losses import find_loss
from tegu.learners.operators.linear import linear, matmul

RNG = torch.Generator().manual_seed(0)


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("shape", [(4,), (3, 4), (3, 5, 4), (3, 2, 5, 4), (3, 1, 4)], ids=str)
def test_linear(shape, bias):
    x, weight = torch.randn(shape, generator=RNG).requires_grad_(), torch.randn(6, 4, generator=RNG).requires_grad_()
    both = [x, weight, *([torch.randn(6, generator=RNG).requires_grad_()] if bias else [])]
    results = [(y := function(*both), *torch.autograd.grad(y.square().sum(), both)) for function in (linear, F.linear)]
    for found, expected in zip(*results, strict=True):
        torch.testing.assert_close(found, expected)


@pytest.mark.parametrize("shapes", [((3, 5, 4), (4, 2)), ((4,), (4, 2)), ((3, 5, 4), (4,)), ((3, 5, 4), (3, 4, 2))])
def test_matmul(shapes):
    a, b = (torch.randn(shape, generator=RNG) for shape in shapes)
    torch.testing.assert_close(matmul(a, b), torch.matmul(a, b))


def test_a_layer_on_steps_gives_no_features_and_has_no_dual_form():
    class OneStep(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.body, self.head = nn.Linear(20, 4), nn.Linear(4, 3)

        def forward(self, x):
            return self.head(self.body(x.unsqueeze(1))).squeeze(1)

    model, spec = OneStep(), Spec.classification((20,), 3)
    parameters = dict(model.named_parameters())
    outputs = forward_with_features(model, parameters, torch.randn(3, 20, generator=RNG))
    assert outputs.features is outputs.output
    assert find_dual_layers(model, find_loss(None, spec), spec) == ()
