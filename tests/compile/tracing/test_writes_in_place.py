"""Writes in place leave the graph where no other name of the memory is read later; results stay those of torch."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor
from torch.fx.experimental.proxy_tensor import make_fx

from tegu.compile.tracing.capture import capture
from tegu.compile.tracing.writes_in_place import is_write, without_writes_in_place


def activation(x: Tensor) -> Tensor:
    return torch.relu_(x * 2) + 1


def of_a_view(x: Tensor) -> Tensor:
    return (x * 2).reshape(-1).relu_().sum()


def columns(x: Tensor) -> Tensor:
    y = torch.zeros_like(x)
    y[:, :2] = x[:, 2:] * 3
    y[:, 2:] = x[:, :2]
    return y


def interleaved(x: Tensor) -> Tensor:
    y = torch.ones_like(x)
    y[:, 0::2], y[:, 1::2] = torch.sin(x[:, 1::2]), torch.cos(x[:, 0::2])
    return y * x


def one_column(x: Tensor) -> Tensor:
    y = x + 1
    y[:, 1] = x[:, 0]
    return y


def twice(x: Tensor) -> Tensor:
    y = x * 1
    y.add_(x).mul_(3)
    return y - x


def read_before(x: Tensor) -> Tensor:
    y = x * 2
    before = y + 1
    y.mul_(5)
    return before + y


def another_view(x: Tensor) -> Tensor:
    """A view that was taken before the write is read after it."""
    y = x * 2
    view = y[:, 1]
    y.mul_(5)
    return view + 1


def part_of_another_view(x: Tensor) -> Tensor:
    y = x * 2
    turned = y.T
    y[:, 0] = x[:, 1]
    return turned * 2


def part_that_is_written_again(x: Tensor) -> Tensor:
    y = x * 2
    part = y[:, 0]
    part.add_(1)
    part.mul_(3)
    return y


def part_whose_view_is_written(x: Tensor) -> Tensor:
    y = x * 2
    part = y[:, :2]
    part.add_(1)
    part[0].mul_(7)
    return y + 0


def indexed(x: Tensor) -> Tensor:
    y = x * 2
    y.index_put_((torch.tensor([2, 0]),), x[:2], accumulate=True)
    return y


def broadcast(x: Tensor) -> Tensor:
    y = x * 2
    y[:, :2] = x[0, 0]
    return y


def other_dtype(x: Tensor) -> Tensor:
    y = torch.zeros_like(x, dtype=torch.float64)
    y.copy_(x)
    return y.float()


def written_input(x: Tensor) -> Tensor:
    x = x.clone()
    x[:, 3].fill_(2.0)
    return x


REPLACED = [activation, of_a_view, columns, interleaved, one_column, twice, read_before, indexed]
OTHERS = [
    *(another_view, part_of_another_view, part_that_is_written_again, part_whose_view_is_written),
    *(broadcast, other_dtype, written_input),
]


def recorded(function: Callable[[Tensor], Tensor]) -> torch.fx.GraphModule:
    module = make_fx(function, tracing_mode="fake")(torch.randn(3, 4))
    module.graph.eliminate_dead_code()
    without_writes_in_place(module)
    return module


@pytest.mark.parametrize("function", [*REPLACED, *OTHERS])
def test_the_results_are_those_of_torch(function: Callable[[Tensor], Tensor]) -> None:
    x = torch.randn(3, 4, generator=torch.Generator().manual_seed(0))
    module = recorded(function)
    module.graph.lint()
    module.recompile()
    assert torch.equal(module(x.clone()), function(x.clone()))
    found = capture(lambda values: {"y": function(values["x"])}, {"x": x.clone()}, {"x": [0]}).module
    assert torch.equal(found(x.clone())[0], function(x.clone()))
    assert not any(is_write(node.target) for node in found.graph.nodes)


@pytest.mark.parametrize("function", REPLACED)
def test_no_second_recording_is_needed(function: Callable[[Tensor], Tensor]) -> None:
    assert not any(is_write(node.target) for node in recorded(function).graph.nodes)


@pytest.mark.parametrize("function", [another_view, part_of_another_view, part_that_is_written_again])
def test_memory_that_is_read_by_another_name_stays(function: Callable[[Tensor], Tensor]) -> None:
    assert any(is_write(node.target) for node in recorded(function).graph.nodes)
