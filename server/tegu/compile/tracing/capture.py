"""Capture a torch function of named tensors as a graph of aten operators, gradients included."""

from __future__ import annotations

import operator
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch._dynamo.source import ConstantSource
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.func import functionalize
from torch.fx import GraphModule
from torch.fx.experimental.proxy_tensor import make_fx
from torch.fx.experimental.symbolic_shapes import DimDynamic, ShapeEnv, StatelessSymbolicContext

from tegu.compile.named_tensors import Function, Named
from tegu.compile.operators.batched_products import plain_batched_products
from tegu.compile.operators.bilinear_convolutions import BilinearConvolutions
from tegu.compile.operators.decompositions import STRIDED, decomposition_table
from tegu.compile.operators.pool_before_relu import PoolBeforeReLU
from tegu.compile.tracing.known_values import KnownValues
from tegu.compile.tracing.views_in_place import without_views_in_place
from tegu.compile.tracing.writes_in_place import is_write, without_writes_in_place
from tegu.core.errors import CompileError

__all__ = ["Captured", "capture"]


class Captured(NamedTuple):
    """A graph of aten operators.

    Attributes:
        module: the graph. Its placeholders are the inputs in order, and its output is a tuple.
        fake: the mode of the example values in the graph's nodes.
        outputs: the names of the outputs, in order.
    """

    module: GraphModule
    fake: FakeTensorMode
    outputs: list[str]

    def __repr__(self) -> str:
        return f"Captured({len(self.module.graph.nodes)} nodes, outputs={self.outputs})"


def capture(function: Function, inputs: Named, dynamic: Mapping[str, Sequence[int]]) -> Captured:
    """Record what `function` does to `inputs`.

    Only dynamic axes become symbolic sizes, and axes of equal size share a symbol: each symbol makes every operator
    that it reaches slower to record.

    Args:
        function: the function to record.
        inputs: examples of its inputs, by name.
        dynamic: for each input, the axes whose size may change.

    Raises:
        CompileError: the function fixes the size of a dynamic axis.
    """
    captured, fixed = _captured(function, inputs, dynamic, nullcontext())
    if fixed and _has_convolutions(captured.module):  # perhaps by their second derivatives
        captured, fixed = _captured(function, inputs, dynamic, BilinearConvolutions())
    if fixed:
        raise CompileError(fixed)
    return captured


def _captured(
    function: Function, inputs: Named, dynamic: Mapping[str, Sequence[int]], convolutions: AbstractContextManager[Any]
) -> tuple[Captured, str]:
    """The recording, and which dynamic axis it fixes, in words; empty if none."""
    names, outputs = list(inputs), list[str]()

    def positional(*tensors: Tensor) -> tuple[Tensor, ...]:
        with KnownValues(), PoolBeforeReLU(), convolutions:
            result = function(dict(zip(names, tensors, strict=True)))
        outputs[:] = list(result)
        return tuple(result.values())

    # With symbolic sizes, a look-up in torch's cache of fake tensors takes longer than it saves.
    with torch._dynamo.config.patch(fake_tensor_cache_enabled=False):
        fake = FakeTensorMode(shape_env=ShapeEnv(), allow_non_fake_inputs=True)
    examples = [_fake_input(fake, name, tensor, dynamic.get(name, ())) for name, tensor in inputs.items()]
    module = _recorded(positional, examples, views=True)
    if any(is_write(node.target) or node.target in STRIDED for node in module.graph.nodes):
        # Functionalise the recording, since functionalize does not support the learners' custom gradients.
        module = _recorded(functionalize(module), examples, views=False)
    fixed = (_fixed_axis(name, each, dynamic.get(name, ())) for name, each in zip(names, examples, strict=True))
    return Captured(module, fake, outputs), next(filter(None, fixed), "")


def _recorded(function: Callable[..., tuple[Tensor, ...]], examples: Sequence[Tensor], views: bool) -> GraphModule:
    with plain_batched_products():
        module = make_fx(
            function,
            tracing_mode="symbolic",
            decomposition_table=decomposition_table(views),
            _allow_non_fake_inputs=True,  # a module's buffers become constants of the graph
        )(*examples)
    # Batching rules read sizes that no operator uses.
    module.graph.eliminate_dead_code()
    _replace_numel(module)
    _index_to_embedding(module)
    without_views_in_place(module)
    without_writes_in_place(module)
    return module


def _replace_numel(module: GraphModule) -> None:
    """Replace numbers of entries, which torch.onnx cannot translate, with products of sizes."""
    graph = module.graph
    for node in graph.find_nodes(op="call_function", target=torch.ops.aten.sym_numel.default):
        product, value = list[Any](), 1
        with graph.inserting_before(node):
            for axis, size in enumerate(node.args[0].meta["val"].shape):
                factor = graph.call_function(torch.ops.aten.sym_size.int, (node.args[0], axis))
                factor.meta["val"], value = size, value * size
                product = [graph.call_function(operator.mul, (*product, factor)) if product else factor]
                product[0].meta["val"] = value
        node.replace_all_uses_with(product[0])
        graph.erase_node(node)


def _index_to_embedding(module: GraphModule) -> None:
    """Replace indexing of a table's rows with an embedding, which is one Gather in ONNX; indexing is six operators."""
    for node in module.graph.find_nodes(op="call_function", target=torch.ops.aten.index.Tensor):
        table, (rows, *others) = node.args
        matrix = table.meta["val"].dim() == 2
        if matrix and not others and rows is not None and rows.meta["val"].dtype == torch.int64:
            node.target, node.args = torch.ops.aten.embedding.default, (table, rows)


def _fake_input(fake: FakeTensorMode, name: str, tensor: Tensor, axes: Sequence[int]) -> Tensor:
    sizes = [DimDynamic.DUCK if axis in axes else DimDynamic.STATIC for axis in range(tensor.dim())]
    context: StatelessSymbolicContext[..., object] = StatelessSymbolicContext(dynamic_sizes=sizes)
    copy = tensor.clone()  # two inputs may be the same tensor, and a tensor has only one fake tensor
    return fake.from_tensor(copy, source=ConstantSource(name), symbolic_context=context)


def _has_convolutions(module: GraphModule) -> bool:
    forms = torch.ops.aten.convolution.default, torch.ops.aten.convolution_backward.default
    return any(module.graph.find_nodes(op="call_function", target=form) for form in forms)


def _fixed_axis(name: str, example: Tensor, axes: Sequence[int]) -> str:
    for axis in axes:
        size: Any = example.shape[axis]  # an axis of size 1 never becomes a symbol: it is an int
        fixed = size.node.maybe_as_int() if isinstance(size, torch.SymInt) else size
        if fixed is not None:
            return (
                f"axis {axis} of {name} is fixed at its example's size of {fixed}: expected code for any number of "
                "rows (and users); take sizes from x.shape, leave rows to -1 in reshapes, and avoid operators (such as "
                "convolutions) whose batched form or second derivative torch writes for one size"
            )
    return ""
