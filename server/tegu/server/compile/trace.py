"""A torch function of named tensors -> an ONNX model with those names."""

from __future__ import annotations

import contextlib
import logging
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TypeAlias

import onnx
import torch
from torch import Tensor
from torch.fx.experimental.proxy_tensor import make_fx

from tegu.core.errors import CompileError
from tegu.server.compile.decompositions import decomposition_table

__all__ = ["OPSET", "Function", "trace"]

OPSET = 18
Named: TypeAlias = Mapping[str, Tensor]
Function: TypeAlias = Callable[[Named], Named]


def trace(function: Function, inputs: Named, dynamic: Mapping[str, Sequence[int]], graph: str) -> onnx.ModelProto:
    """Export `function`, gradients and all.

    Args:
        function: from named tensors to named tensors, without side effects; it may call `torch.func` transforms.
        inputs: examples of its inputs; dynamic axes should have sizes that occur nowhere else in the model.
        dynamic: for each input, the axes whose size may change.
        graph: name of the result, for errors.

    Returns:
        A model whose inputs and outputs carry the names of `inputs` and of the function's result. Inputs that do not
        matter to the result are left out.

    Raises:
        CompileError: control flow that depends on data, or an operator without translation.
    """
    names = list(inputs)
    output_names: list[str] = []

    def positional(*tensors: Tensor) -> tuple[Tensor, ...]:
        result = function(dict(zip(names, tensors, strict=True)))
        output_names[:] = list(result)
        return tuple(result.values())

    shapes = tuple(dict.fromkeys(dynamic.get(name, ()), torch.export.Dim.DYNAMIC) for name in names)
    examples = tuple(inputs.values())
    with _quiet():
        try:
            traced = make_fx(
                positional,
                tracing_mode="symbolic",
                decomposition_table=decomposition_table(),
                _allow_non_fake_inputs=True,  # a module's buffers become constants of the graph
            )(*examples)
            # Batching rules ask for sizes that nobody uses; torch.export would fix them to the example's.
            traced.graph.eliminate_dead_code()
            traced.recompile()
            program = torch.onnx.export(
                traced.eval(),
                examples,
                input_names=names,
                output_names=output_names,
                opset_version=OPSET,
                dynamo=True,
                dynamic_shapes=shapes,
                verbose=False,
            )
        except CompileError:
            raise
        except Exception as error:  # torch raises dozens of types here, many of them private
            raise CompileError(_explain(graph, error)) from error
    assert program is not None  # noqa: S101 # it is None only when a path to write to is given
    model: onnx.ModelProto = program.model_proto
    _drop_unused_inputs(model)
    return model


def _explain(graph: str, error: Exception) -> str:
    text = str(error)
    first = next((line for line in text.splitlines() if line.strip()), type(error).__name__)
    causes = [text, str(error.__cause__ or ""), str(error.__context__ or "")]
    data_dependent = ("data-dependent", "GuardOnDataDependent", "data dependent", "is_nonzero", "local_scalar_dense")
    if any(sign in cause or sign in type(error).__name__ for cause in causes for sign in data_dependent):
        return (
            f"the {graph} graph cannot be compiled: the model's control flow or a shape depends on the data "
            f"({first}); write it with torch.where, or choose the branch before the model is built"
        )
    return f"the {graph} graph cannot be compiled: {type(error).__name__}: {first}; replace the operator it names"


def _drop_unused_inputs(model: onnx.ModelProto) -> None:
    used = {name for node in model.graph.node for name in node.input} | {output.name for output in model.graph.output}
    kept = [value for value in model.graph.input if value.name in used]
    del model.graph.input[:]
    model.graph.input.extend(kept)


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Exporting prints deprecations and notes that concern torch's own code, not the user's."""
    loggers = [logging.getLogger(name) for name in ("torch.onnx", "onnxscript", "onnx_ir")]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.ERROR)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            yield
        finally:
            for logger, level in zip(loggers, levels, strict=True):
                logger.setLevel(level)
