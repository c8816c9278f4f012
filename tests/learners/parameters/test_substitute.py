"""A module with replaced parameters, also while other threads use it with theirs."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import pytest
import torch
from torch import Tensor, nn
from torch.func import functional_call

from tegu.learners.parameters.substitute import substituted


class Tied(nn.Module):
    """One weight in two places, a buffer, and a child that may be absent."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second, self.absent = nn.Linear(3, 3), nn.Linear(3, 3), None
        self.second.weight = self.first.weight
        self.register_buffer("shift", torch.ones(3))

    def forward(self, x: Tensor) -> Tensor:
        return self.second(torch.tanh(self.first(x))) + self.shift


MODELS = {
    "tied": Tied,
    "mlp": lambda: nn.Sequential(nn.Linear(3, 4), nn.ReLU(), nn.Sequential(nn.Linear(4, 2), nn.LayerNorm(2))),
    "gru": lambda: nn.GRU(3, 4, batch_first=True),
}


def others(model: nn.Module, seed: int) -> dict[str, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    return {name: torch.randn(value.shape, generator=generator) for name, value in model.named_parameters()}


def output(model: nn.Module, x: Tensor) -> Tensor:
    found = model(x)
    return found[0] if isinstance(found, tuple) else found


@pytest.mark.parametrize("name", MODELS)
def test_it_computes_with_the_parameters_given(name: str) -> None:
    model, x = MODELS[name](), torch.randn(2, 5, 3)
    before, parameters = {n: v.clone() for n, v in model.state_dict().items()}, others(model, 1)
    expected = functional_call(model, parameters, (x,))
    expected = expected[0] if isinstance(expected, tuple) else expected
    torch.testing.assert_close(output(substituted(model, parameters), x), expected, rtol=0, atol=0)
    assert all(torch.equal(value, before[n]) for n, value in model.state_dict().items())


def test_gradients_reach_the_parameters_given() -> None:
    model = MODELS["tied"]()
    parameters = {name: value.requires_grad_() for name, value in others(model, 2).items()}
    output(substituted(model, parameters), torch.randn(4, 3)).sum().backward()
    assert all(value.grad is not None for value in parameters.values())
    assert all(value.grad is None for value in model.parameters())


def test_threads_do_not_see_each_others_parameters() -> None:
    model, x = MODELS["mlp"](), torch.randn(64, 3)
    trees = [others(model, seed) for seed in range(4)]
    expected = [output(substituted(model, tree), x) for tree in trees]

    def repeated(index: int) -> bool:
        return all(torch.equal(output(substituted(model, trees[index]), x), expected[index]) for _ in range(300))

    with ThreadPoolExecutor(4) as pool:
        assert all(pool.map(repeated, range(4)))
