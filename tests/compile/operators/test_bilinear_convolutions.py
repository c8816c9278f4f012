"""Convolutions as three bilinear maps: first and second derivatives are torch's own, and graphs take any rows."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F  # noqa: N812 # the name torch's own documentation uses
from tests.compile.running import run
from torch import Tensor, nn
from torch.func import grad

from tegu.compile import compile_learner
from tegu.compile.operators.bilinear_convolutions import BilinearConvolutions
from tegu.core.data.batch import Batch
from tegu.core.data.spec import Spec
from tegu.learners import maml

FORMS = [
    {"padding": 1},
    {"stride": 2, "padding": 1},
    {"stride": (2, 1), "padding": (0, 2), "dilation": (1, 2)},
    {"groups": 2, "padding": 1},
]


def drawn(*shape: int) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(sum(shape)), dtype=torch.float64)


@pytest.mark.parametrize("form", FORMS, ids=str)
def test_both_derivatives_are_torchs(form: dict[str, Any]) -> None:
    x, weight, bias = drawn(3, 4, 7, 8), drawn(6, 4 // form.get("groups", 1), 3, 3), drawn(6)

    def loss(x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
        return F.conv2d(x, weight, bias, **form).tanh().square().sum()

    def slope(x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
        return sum((each.sin().sum() for each in grad(loss, (0, 1, 2))(x, weight, bias)), start=torch.zeros(()))

    first, second = grad(loss, (0, 1, 2))(x, weight, bias), grad(slope, (0, 1, 2))(x, weight, bias)
    with BilinearConvolutions():
        found, twice = grad(loss, (0, 1, 2))(x, weight, bias), grad(slope, (0, 1, 2))(x, weight, bias)
    torch.testing.assert_close(found, first)
    torch.testing.assert_close(twice, second)
    assert min(float(each.abs().max()) for each in twice) > 0


def test_mamls_update_of_a_convolutional_network_takes_any_number_of_rows() -> None:
    torch.manual_seed(0)
    layers = (nn.Conv2d(1, 4, 3, padding=1), nn.ReLU(), nn.Conv2d(4, 4, 3, stride=2), nn.Flatten(), nn.Linear(16, 3))
    learner = maml(nn.Sequential(*layers), Spec.classification((1, 6, 6), 3), steps=2, lr=0.2)
    graph, meta = compile_learner(learner)["update"], learner.init(0)
    for rows in (3, 8):
        rng = np.random.default_rng(rows)
        support, query = (
            Batch(rng.normal(size=(n, 1, 6, 6)).astype(np.float32), rng.integers(0, 3, n), np.ones(n, np.float32))
            for n in (rows, rows + 2)
        )
        tensors = [Batch(*map(torch.from_numpy, each)) for each in (support, query)]
        expected = learner.update({name: torch.tensor(value) for name, value in meta.items()}, *tensors, torch.zeros(0))
        found = run(graph, meta=meta, support=support, query=query)
        for name, value in expected.items():
            np.testing.assert_allclose(found[f"update.{name}"], value.numpy(), rtol=1e-3, atol=1e-5)
