"""Capturing functions with a dynamic number of rows."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from tegu.compile.named_tensors import Named
from tegu.compile.tracing.capture import capture
from tegu.core.errors import CompileError

X = {"x": torch.arange(26.0).reshape(13, 2)}


def test_only_dynamic_axes_are_symbolic() -> None:
    captured = capture(lambda v: {"y": v["x"] * 2, "n": v["x"].sum(0)}, X, {"x": (0,)})
    (x,) = [node for node in captured.module.graph.nodes if node.op == "placeholder"]
    shape = x.meta["val"].shape
    assert isinstance(shape[0], torch.SymInt)
    assert type(shape[1]) is int
    assert captured.outputs == ["y", "n"]


def test_equal_sizes_share_a_symbol() -> None:
    two = {**X, "z": torch.ones(13), "other": torch.ones(7)}
    captured = capture(lambda v: {"y": v["x"].sum(1) + v["z"]}, two, dict.fromkeys(two, (0,)))
    sizes = [str(n.meta["val"].shape[0]) for n in captured.module.graph.nodes if n.op == "placeholder"]
    assert sizes[0] == sizes[1] != sizes[2]


def test_in_place_writes_become_values() -> None:
    def in_place(values: Named) -> Named:
        y = values["x"] * 1
        y[:, 0].mul_(3)
        return {"y": y}

    captured = capture(in_place, X, {"x": (0,)})
    assert not any(
        str(node.target).split(".")[1].endswith("_") for node in captured.module.graph.nodes if "." in str(node.target)
    )
    (found,) = captured.module(torch.ones(5, 2))
    torch.testing.assert_close(found, torch.tensor([3.0, 1]).expand(5, 2))


@pytest.mark.parametrize(
    "fixing", [lambda x: x.reshape(13, 2), lambda x: x + torch.ones(13, 1), lambda x: x if len(x) == 13 else -x]
)
def test_a_function_that_fixes_a_dynamic_axis_raises(fixing: Callable[[Tensor], Tensor]) -> None:
    with pytest.raises(CompileError, match=r"axis 0 of x is fixed at its example's size of 13: expected code for any"):
        capture(lambda values: {"y": fixing(values["x"])}, X, {"x": (0,)})


def test_indexing_a_table_by_row_becomes_an_embedding() -> None:
    inputs = {"table": torch.randn(50, 4), "ids": torch.arange(13)}
    captured = capture(lambda v: {"y": v["table"][v["ids"]]}, inputs, {"ids": (0,)})
    assert [node.target for node in captured.module.graph.nodes if node.op == "call_function"] == [
        torch.ops.aten.embedding.default
    ]
    ids = torch.tensor([[3, 49], [0, 3]])
    (found,) = captured.module(inputs["table"], ids.flatten())
    torch.testing.assert_close(found.reshape(2, 2, 4), inputs["table"][ids])


@pytest.mark.parametrize("chosen", [lambda x: x[x[:, 0] > 0], lambda x: x[:, torch.tensor([1, 0])]])
def test_other_indexing_is_kept(chosen: Callable[[Tensor], Tensor]) -> None:
    captured = capture(lambda v: {"y": chosen(v["x"]).sum(0)}, {"x": torch.randn(50, 2)}, {})
    targets = [node.target for node in captured.module.graph.nodes]
    assert torch.ops.aten.index.Tensor in targets
    assert torch.ops.aten.embedding.default not in targets


def test_numel_becomes_a_product_of_sizes() -> None:
    captured = capture(lambda v: {"y": torch.zeros(v["x"].numel())}, X, {"x": (0,)})
    assert torch.ops.aten.sym_numel.default not in [node.target for node in captured.module.graph.nodes]
    (found,) = captured.module(torch.ones(5, 2))
    assert found.shape == (10,)
