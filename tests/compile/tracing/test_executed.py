"""Graphs are found again by what a function does, without a recording; whatever changes what it does is another key."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from tests.compile.running import run
from torch import Tensor, nn

from tegu.compile.named_tensors import Named
from tegu.compile.tracing import capture, trace
from tegu.compile.tracing.cache import CACHE_VARIABLE
from tegu.compile.tracing.executed import executed_operators
from tegu.core.errors import CompileError

_GLOBAL = 2.0
_X = torch.arange(28.0).reshape(7, 4) / 28


class Reads(nn.Module):
    """A model whose function depends on a global, a closure, an attribute, a buffer and an array beside the module."""

    def __init__(self, closure: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.layer, self.closure, self.options = nn.Linear(4, 2), closure, {"shift": 1.0}
        self.table = np.ones(2, np.float32)
        self.register_buffer("scale", torch.ones(2))
        self.requires_grad_(False)

    def forward(self, x: Tensor) -> Tensor:
        output: Tensor = self.closure(self.layer(x)) * _GLOBAL + self.options["shift"]
        return output * torch.from_numpy(self.table) * self.scale


@pytest.fixture
def recorded(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> list[int]:
    """One entry for each recording. Graphs are kept in a folder that is empty at first."""
    monkeypatch.setenv(CACHE_VARIABLE, str(tmp_path / "graphs"))
    calls, original = list[int](), capture.capture
    monkeypatch.setattr(capture, "capture", lambda *args: calls.append(1) or original(*args))
    return calls


def traced(function: Callable[[Named], Named]) -> Callable[[Tensor], np.ndarray]:
    source = trace.GraphSource(function, {"x": _X}, {"x": (0,)}, [{"x": _X[:3]}])
    model = trace.trace({"graph": source})["graph"].SerializeToString()
    return lambda x: run(model, x=x.numpy())["y"]


def test_what_a_forward_reads_may_change_between_two_calls(
    recorded: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    torch.manual_seed(0)
    factor = [3.0]
    module = Reads(lambda output: output * factor[0])

    def check(recordings: int) -> None:
        found = traced(lambda values: {"y": module(values["x"])})
        np.testing.assert_allclose(found(_X[:5]), module(_X[:5]).numpy(), rtol=1e-5, atol=1e-5)
        assert len(recorded) == recordings

    check(1)
    check(1)
    changes: list[Callable[[], object]] = [
        lambda: monkeypatch.setitem(globals(), "_GLOBAL", 2.02),
        lambda: factor.__setitem__(0, 3.03),
        lambda: module.options.update(shift=1.01),
        lambda: module.table.fill(1.01),
        lambda: module.scale.fill_(1.01),
        lambda: module.layer.weight.mul_(1.01),
        lambda: setattr(module, "closure", torch.tanh),
        lambda: setattr(module, "forward", lambda x: module.layer(x) - 1),
    ]
    for number, change in enumerate(changes, 2):
        change()
        check(number)


def of(function: Callable[[Tensor], Tensor], *rows: int) -> str | None:
    cases = [{"x": torch.ones(each, 4)} for each in rows]
    return executed_operators(lambda values: {"y": function(values["x"])}, cases)


def test_a_number_that_equals_a_size_is_told_from_it_by_another_size() -> None:
    assert of(lambda x: x * 7, 7) == of(lambda x: x * len(x), 7)
    assert of(lambda x: x * 7, 7, 3) != of(lambda x: x * len(x), 7, 3)


def test_operators_that_differ_in_one_argument_type_order_or_result_differ() -> None:
    functions: list[Callable[[Tensor], Tensor]] = [
        lambda x: x * 2,
        lambda x: x * 2.0,
        lambda x: 2 + x,
        lambda x: x.sum(0, keepdim=True),
        lambda x: x.sum(1, keepdim=True),
        lambda x: (x * 2).sin() + x.cos(),
        lambda x: (x * 2).cos() + x.sin(),
        lambda x: (x.sin(), x.cos())[0],
        lambda x: (x.sin(), x.cos())[1],
        lambda x: x * torch.tensor([1.0, 2, 3, 4]),
        lambda x: x * torch.tensor([1.0, 2, 3, 5]),
        torch.func.grad(lambda z: z.pow(3).sum()),
        torch.func.grad(lambda z: z.pow(3.5).sum()),
        torch.func.vmap(torch.sin),
    ]
    digests = [of(function, 7) for function in functions]
    assert None not in digests
    assert len({*digests}) == len(functions)
    assert digests == [of(function, 7) for function in functions]
    assert of(torch.sin, 7) != of(torch.sin, 6)


@pytest.mark.parametrize(
    "reads",
    [
        lambda x: float(x.sum()),
        lambda x: x.numpy().sum(),
        lambda x: x.tolist()[0][0],
        lambda x: bool((x > 0).any()),
        lambda x: np.asarray(x).max(),
        lambda x: x.nonzero().shape[0],
    ],
)
def test_what_reads_its_input_has_no_key(reads: Callable[[Tensor], float]) -> None:
    assert of(lambda x: x * 2 if reads(x) else x * 3, 7) is None


def test_a_refusal_is_kept(recorded: list[int]) -> None:
    for _ in range(2):
        with pytest.raises(CompileError, match=r"axis 0 of graph\.x is fixed"):
            traced(lambda values: {"y": values["x"] * int(values["x"].shape[0])})
    assert len(recorded) == 1


class OwnGradient(torch.autograd.Function):
    """A function as torch's first guide writes it, which `torch.func` refuses."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        ctx.save_for_backward(x)
        return x.sign()

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> Tensor:
        return grad * (ctx.saved_tensors[0].abs() < 1).to(grad.dtype)


@pytest.mark.usefixtures("recorded")
def test_a_function_whose_forward_takes_ctx_is_refused_with_the_fix() -> None:
    def gradient(values: Named) -> Named:
        return {"y": torch.func.grad(lambda x: OwnGradient.apply(x).sum())(values["x"])}  # type: ignore[no-untyped-call] # torch's own

    with pytest.raises(CompileError, match=r"autograd\.Function takes ctx; write forward.*setup_context"):
        traced(gradient)
