"""Translate a graph of aten operators to ONNX."""

from __future__ import annotations

import functools
import math
from collections.abc import Sequence
from typing import Any

import onnx
import onnx_ir
import onnxscript.optimizer
from onnx_ir import convenience
from onnx_ir.passes import common
from torch import Tensor, fx
from torch.export import ExportedProgram
from torch.export.graph_signature import (
    ExportGraphSignature,
    InputKind,
    InputSpec,
    OutputKind,
    OutputSpec,
    TensorArgument,
)
from torch.onnx._internal.exporter._core import _exported_program_to_onnx_program
from torch.onnx._internal.exporter._fx_passes import remove_assertion_nodes

from tegu.compile.operators.translations import TRANSLATIONS
from tegu.compile.rewrites.fuse import fuse
from tegu.compile.rewrites.sink_transposes import sink_transposes
from tegu.compile.tracing.capture import Captured
from tegu.compile.tracing.promotion import promote_types
from tegu.compile.tracing.registry import Translations

__all__ = ["OPSET", "translate_each"]

OPSET = 18
_LARGEST_FILLED = 1024  # entries of a constant that a graph stores, though one number would do


def translate_each(captured: Captured, inputs: Sequence[str], graphs: Sequence[str]) -> dict[str, onnx.ModelProto]:
    """An ONNX model for each of several functions that were captured as one graph.

    Args:
        captured: the graph.
        inputs: names for its inputs, in order. Those of a function begin with its name and a dot, as its outputs do.
        graphs: names of the functions.

    Raises:
        torch.onnx.OnnxExporterError: an operator has no translation.
    """
    model = _translated(captured, inputs)
    return {graph: _extract(model, f"{graph}.") for graph in graphs}


def _translated(captured: Captured, inputs: Sequence[str]) -> onnx_ir.Model:
    # torch.onnx's own `export` decomposes and evaluates the graph once more, which takes longer than this.
    program = _program(captured)
    remove_assertion_nodes(captured.module)
    promote_types(captured.module, captured.fake)
    model = _exported_program_to_onnx_program(program, registry=_registry()).model
    for values, names in ((model.graph.inputs, inputs), (model.graph.outputs, captured.outputs)):
        for value, name in zip(values, names, strict=True):
            value.name = name
    return _simplified(model, captured.outputs)


def _extract(model: onnx_ir.Model, prefix: str) -> onnx.ModelProto:
    """The part of `model` whose inputs and outputs have `prefix`, with the prefix removed from their names."""
    graph = convenience.extract(
        model.graph,
        [value for value in model.graph.inputs if str(value.name).startswith(prefix)],
        [value for value in model.graph.outputs if str(value.name).startswith(prefix)],
    )
    outputs = set(graph.outputs)
    for value in [value for value in graph.inputs if not value.uses() and value not in outputs]:
        graph.inputs.remove(value)
    for value in [*graph.inputs, *graph.outputs]:
        value.name = str(value.name).removeprefix(prefix)
    return _ordered(onnx_ir.serde.serialize_model(onnx_ir.Model(graph, ir_version=model.ir_version)))


def _ordered(model: onnx.ModelProto) -> onnx.ModelProto:
    """The model with its constants sorted: onnx_ir lists them in the order of a set, and bytes must be reproducible."""
    model.graph.initializer.sort(key=lambda tensor: tensor.name)
    model.graph.value_info.sort(key=lambda value: value.name)
    return model


@functools.cache
def _registry() -> Translations:
    return Translations(OPSET, TRANSLATIONS)


def _simplified(model: onnx_ir.Model, outputs: Sequence[str]) -> onnx_ir.Model:
    """Fold constants and remove duplicates. ONNX Runtime does the rest while it loads the model."""
    common.InlinePass()(model)
    _drop_identity_transposes(model)
    onnxscript.optimizer.fold_constants(model, should_fold=_is_folded)
    common.IdentityEliminationPass()(model)
    sink_transposes(model)
    fuse(model)
    passes = (
        common.RemoveUnusedNodesPass(),
        common.RemoveUnusedFunctionsPass(),  # type: ignore[no-untyped-call]
        common.RemoveUnusedOpsetsPass(),
        common.LiftConstantsToInitializersPass(lift_all_constants=True, size_limit=0),
        common.LiftSubgraphInitializersToMainGraphPass(),
        common.DeduplicateInitializersPass(),
        common.CommonSubexpressionEliminationPass(),
        common.OutputFixPass(),
        common.NameFixPass(),
        common.ClearMetadataAndDocStringPass(),
    )
    onnx_ir.passes.Sequential(*passes)(model)
    for value, name in zip(model.graph.outputs, outputs, strict=True):
        value.name = name  # two equal outputs become one value, which has only one of the names
    return model


def _is_folded(node: onnx_ir.Node) -> bool | None:
    """False for a node that fills a large tensor with one number: a bundle would hold the tensor. None otherwise."""
    if node.op_type not in ("Expand", "ConstantOfShape"):
        return None
    shape = node.outputs[0].shape
    sizes = [] if shape is None else [size for size in shape if isinstance(size, int)]
    return False if math.prod(sizes) > _LARGEST_FILLED else None


def _drop_identity_transposes(model: onnx_ir.Model) -> None:
    """Drop the transposes of indexing that keep the order of axes: ONNX Runtime would copy whole tables for them."""
    for node in model.graph:
        order = list(node.attributes["perm"].as_ints()) if node.op_type == "Transpose" else None
        if order is not None and order == sorted(order):
            node.op_type = "Identity"
            node.attributes.clear()


def _program(captured: Captured) -> ExportedProgram:
    """The graph in the form that torch.onnx takes. torch.export would trace it again."""
    graph = captured.module.graph
    constants = _lift_constants(captured)
    inputs, results = list[InputSpec](), list[Any]()
    for node in graph.nodes:
        if node.op == "placeholder":
            kind = InputKind.CONSTANT_TENSOR if node.name in constants else InputKind.USER_INPUT
            target = node.name if node.name in constants else None
            inputs.append(InputSpec(kind, TensorArgument(node.name), target))
        elif node.op == "output":
            results = list(node.args[0])
    outputs = [OutputSpec(OutputKind.USER_OUTPUT, TensorArgument(node.name), None) for node in results]
    return ExportedProgram(
        captured.module, graph, ExportGraphSignature(inputs, outputs), {}, {}, [], constants=constants
    )


def _lift_constants(captured: Captured) -> dict[str, Any]:
    """Turn the tensors that the graph reads as attributes into placeholders.

    Returns:
        Their values, by the placeholder's name.
    """
    module, graph = captured.module, captured.module.graph
    first = next(iter(graph.nodes))
    lifted: dict[str, fx.Node] = {}
    constants: dict[str, Any] = {}
    for node in [node for node in graph.nodes if node.op == "get_attr"]:
        attribute = getattr(module, node.target)
        if not isinstance(attribute, Tensor):
            continue  # the body of a scan
        if node.target not in lifted:
            value = attribute.detach()
            with graph.inserting_before(first):
                placeholder = graph.placeholder(f"constant_{node.target}")
            placeholder.meta["val"] = captured.fake.from_tensor(value, static_shapes=True)
            lifted[node.target], constants[placeholder.name] = placeholder, value
        node.replace_all_uses_with(lifted[node.target])
        graph.erase_node(node)
    return constants
