"""Translate a graph of aten operators to ONNX."""

from __future__ import annotations

import contextlib
import functools
import logging
import math
import warnings
from collections.abc import Iterator, Sequence
from typing import Any

import onnx_ir
import onnxscript.optimizer
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

from tegu.compile.operators.broadcast_matmul import TRANSLATIONS as MATMUL
from tegu.compile.operators.convolution.sliding import TRANSLATIONS as SLIDING
from tegu.compile.rewrites.fuse import fuse
from tegu.compile.rewrites.sink_transposes import sink_transposes
from tegu.compile.tracing.capture import Captured
from tegu.compile.tracing.promotion import promote_types
from tegu.compile.tracing.registry import Translations

__all__ = ["OPSET", "quiet", "translate"]

OPSET = 18
_LARGEST_FILLED = 1024  # entries of a constant that a graph stores, though one number would do


def translate(captured: Captured, inputs: Sequence[str]) -> onnx_ir.Model:
    """The ONNX model of a captured graph.

    Args:
        captured: the graph.
        inputs: names for its inputs, in order.

    Raises:
        torch.onnx.OnnxExporterError: an operator has no translation.
    """
    # torch.onnx's own `export` decomposes and evaluates the graph once more, which takes longer than this.
    program = _program(captured)
    remove_assertion_nodes(captured.module)
    promote_types(captured.module, captured.fake)
    model = _exported_program_to_onnx_program(program, registry=_registry()).model
    for values, names in ((model.graph.inputs, inputs), (model.graph.outputs, captured.outputs)):
        for value, name in zip(values, names, strict=True):
            value.name = name
    return _simplified(model, captured.outputs)


@functools.cache
def _registry() -> Translations:
    return Translations(OPSET, {**MATMUL, **SLIDING})


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


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Silence warnings and log messages of the export, which concern torch's own code, not the user's."""
    names = ("torch.onnx", "torch._subclasses.fake_tensor", "onnxscript", "onnx_ir")
    loggers = [logging.getLogger(name) for name in names]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.CRITICAL)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            yield
        finally:
            for logger, level in zip(loggers, levels, strict=True):
                logger.setLevel(level)
