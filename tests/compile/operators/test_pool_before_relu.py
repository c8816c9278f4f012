"""Max pooling before ReLU, compared with torch's pooling after it."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn
from torch.func import functional_call, grad

from tegu.compile.operators.pool_before_relu import PoolBeforeReLU
from tegu.compile.tracing.capture import capture

POOLS = [nn.MaxPool2d(2), nn.MaxPool2d(3, 2, 1), nn.MaxPool2d(3, 1)]


RECTIFIERS = {
    "module": nn.ReLU(),
    "function": torch.relu,
    "method": torch.Tensor.relu,
    "in place": nn.ReLU(inplace=True),
}


@pytest.mark.parametrize("pool", POOLS, ids=str)
@pytest.mark.parametrize("relu", RECTIFIERS.values(), ids=RECTIFIERS)
def test_values_and_gradients_equal_pooling_after_relu(pool: nn.Module, relu: Callable[[Tensor], Tensor]) -> None:
    x = torch.randn(2, 3, 8, 8, generator=torch.Generator().manual_seed(0)).mul(1.5).round()  # with many ties

    def model(x: Tensor) -> tuple[Tensor, Tensor]:
        output = pool(relu(1 * x))
        return (output * torch.linspace(-1, 1, output.numel()).reshape(output.shape)).sum(), output

    (expected, values), (found, reordered) = grad(model, has_aux=True)(x), (None, None)
    with PoolBeforeReLU():
        found, reordered = grad(model, has_aux=True)(x)
    assert torch.equal(reordered, values)
    assert torch.equal(found, expected)


def pooling_and_relu_operators(model: nn.Module) -> list[str]:
    captured = capture(lambda values: {"y": model(values["x"])}, {"x": torch.randn(3, 2, 8, 8)}, {"x": (0,)})
    names = [str(n.target) for n in captured.module.graph.nodes]
    return [name.split(".")[1] for name in names if "relu" in name or "pool" in name]


def test_capturing_moves_max_pooling_before_relu() -> None:
    assert pooling_and_relu_operators(nn.Sequential(nn.ReLU(), nn.MaxPool2d(2))) == ["max_pool2d_with_indices", "relu"]
    assert pooling_and_relu_operators(nn.Sequential(nn.ReLU(), nn.AvgPool2d(2))) == ["relu", "avg_pool2d"]
    assert (
        pooling_and_relu_operators(nn.Sequential(nn.ReLU(), nn.Identity(), nn.MaxPool2d(2)))[0]
        == "max_pool2d_with_indices"
    )


def test_other_readers_of_relus_output_are_unaffected() -> None:
    class Skip(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            y = torch.relu(x)
            return nn.functional.max_pool2d(y, 2, 1, 0)[..., :1] + y[..., :1, :1]

    x = torch.randn(1, 2, 4, 4)
    expected = functional_call(Skip(), {}, (x,))
    with PoolBeforeReLU():
        torch.testing.assert_close(functional_call(Skip(), {}, (x,)), expected)


def test_pooling_with_indices_is_not_moved() -> None:
    x = torch.tensor([[[-2.0, -1.0], [-3.0, -4.0]]])
    with PoolBeforeReLU():
        values, indices = nn.functional.max_pool2d(torch.relu(x), 2, return_indices=True)
    assert (values.item(), indices.item()) == (0, 0)
