"""Products of one matrix per user are recorded as one operator, and all other products as torch writes them."""

from __future__ import annotations

import torch
from torch.fx.experimental.proxy_tensor import make_fx

from tegu.compile.operators.batched_products import plain_batched_products
from tegu.compile.tracing.capture import capture


def operators(a: torch.Tensor, b: torch.Tensor) -> list[str]:
    """What the product of each user's matrices is recorded as; users and rows may be any number."""
    inputs, dynamic = {"a": a, "b": b}, {"a": [0, 1], "b": [0]}
    found = capture(lambda v: {"c": torch.vmap(torch.matmul)(v["a"], v["b"])}, inputs, dynamic).module
    assert torch.equal(found(a, b)[0], a @ b)
    return [str(node.target) for node in found.graph.nodes if node.op == "call_function"]


def test_a_product_of_each_users_matrices_is_one_operator() -> None:
    a, b = torch.randn(5, 3, 4), torch.randn(5, 4, 6)
    assert operators(a, b) == ["aten.bmm.default"]


def test_other_products_stay() -> None:
    a, b = torch.randn(2, 5, 3, 4), torch.randn(2, 1, 4, 6)  # for each user, one matrix for five
    found = make_fx(torch.matmul, tracing_mode="symbolic")(a, b)
    with plain_batched_products():
        own = make_fx(torch.matmul, tracing_mode="symbolic")(a, b)
    assert [node.target for node in own.graph.nodes] == [node.target for node in found.graph.nodes]
    wide, one = torch.randn(5, 3, 4), torch.randn(1, 4, 6)
    with plain_batched_products():
        assert torch.allclose(make_fx(torch.matmul, tracing_mode="symbolic")(wide, one)(wide, one), wide @ one)


def test_torchs_own_product_is_restored() -> None:
    key = torch._C.DispatchKey.CompositeImplicitAutograd
    before = torch.ops.aten.matmul.default.py_kernels[key]
    with plain_batched_products():
        assert torch.ops.aten.matmul.default.py_kernels[key] is not before
    assert torch.ops.aten.matmul.default.py_kernels[key] is before
