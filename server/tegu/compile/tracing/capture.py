"""A torch function of named tensors -> a graph of aten operators, gradients and all."""

from __future__ import annotations

import operator
from collections.abc import Callable, Mapping, Sequence
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
from tegu.compile.operators.decompositions import decomposition_table
from tegu.compile.operators.pool_before_relu import PoolFirst
from tegu.core.errors import CompileError

__all__ = ["Captured", "capture"]


class Captured(NamedTuple):
    """A graph of aten operators.

    Attributes:
        module: its placeholders are the inputs in their order, its output a tuple.
        fake: the mode that its nodes' example values belong to.
        outputs: the names of its outputs.
    """

    module: GraphModule
    fake: FakeTensorMode
    outputs: list[str]


def capture(function: Function, inputs: Named, dynamic: Mapping[str, Sequence[int]]) -> Captured:
    """Record what `function` does to `inputs`.

    Only dynamic axes are symbols, equal ones sharing one: every symbol costs at every operator that it meets.

    Raises:
        CompileError: the function fixes the size of a dynamic axis.
    """
    names, outputs = list(inputs), list[str]()

    def positional(*tensors: Tensor) -> tuple[Tensor, ...]:
        with PoolFirst():
            result = function(dict(zip(names, tensors, strict=True)))
        outputs[:] = list(result)
        return tuple(result.values())

    fake = FakeTensorMode(shape_env=ShapeEnv(), allow_non_fake_inputs=True)
    examples = [_fake_input(fake, name, tensor, dynamic.get(name, ())) for name, tensor in inputs.items()]
    module = _recorded(positional, examples)
    if any(_writes(node.target) for node in module.graph.nodes):
        # Of the recording, since functionalize does not know the gradients that learners write by hand.
        module = _recorded(functionalize(module), examples)
    for name, example in zip(names, examples, strict=True):
        _refuse_fixed(name, example, dynamic.get(name, ()))
    return Captured(module, fake, outputs)


def _recorded(function: Callable[..., tuple[Tensor, ...]], examples: Sequence[Tensor]) -> GraphModule:
    module = make_fx(
        function,
        tracing_mode="symbolic",
        decomposition_table=decomposition_table(),
        _allow_non_fake_inputs=True,  # a module's buffers become constants of the graph
    )(*examples)
    # Batching rules ask for sizes that nobody uses.
    module.graph.eliminate_dead_code()
    _multiply_out(module)
    _gather_rows(module)
    return module


def _multiply_out(module: GraphModule) -> None:
    """Numbers of entries, which torch.onnx cannot translate, as products of sizes."""
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


def _gather_rows(module: GraphModule) -> None:
    """Rows of a table as a look-up, which becomes one Gather; of an index torch.onnx makes six operators."""
    for node in module.graph.find_nodes(op="call_function", target=torch.ops.aten.index.Tensor):
        table, (rows, *others) = node.args
        matrix = table.meta["val"].dim() == 2
        if matrix and not others and rows is not None and rows.meta["val"].dtype == torch.int64:
            node.target, node.args = torch.ops.aten.embedding.default, (table, rows)


def _fake_input(fake: FakeTensorMode, name: str, tensor: Tensor, axes: Sequence[int]) -> Tensor:
    sizes = [DimDynamic.DUCK if axis in axes else DimDynamic.STATIC for axis in range(tensor.dim())]
    context: StatelessSymbolicContext[..., object] = StatelessSymbolicContext(dynamic_sizes=sizes)
    own = tensor.clone()  # one fake tensor is made of a tensor, however often it is an input
    return fake.from_tensor(own, source=ConstantSource(name), symbolic_context=context)


def _writes(target: object) -> bool:
    return isinstance(target, torch._ops.OpOverload) and target._schema.is_mutable


def _refuse_fixed(name: str, example: Tensor, axes: Sequence[int]) -> None:
    for axis in axes:
        size: Any = example.shape[axis]  # an int where a symbol never was: of a size of 1
        fixed = size.node.maybe_as_int() if isinstance(size, torch.SymInt) else size
        if fixed is not None:
            raise CompileError(
                f"axis {axis} of {name} is fixed at its example's size of {fixed}: expected code for any number of "
                "rows (and users); take sizes from x.shape, leave rows to -1 in reshapes, and avoid operators (such as "
                "convolutions) whose batched form or second derivative torch writes for one size"
            )
