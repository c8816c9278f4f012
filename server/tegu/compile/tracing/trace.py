"""Torch functions of named tensors -> ONNX models with those names."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TypeVar

import onnx
import onnx_ir
from onnx_ir import convenience

from tegu.compile.named_tensors import Function, Named
from tegu.compile.tracing.capture import capture
from tegu.compile.tracing.naming import named, pick
from tegu.compile.tracing.translate import quiet, translate
from tegu.core.errors import CompileError, TeguError

__all__ = ["Part", "trace"]

T = TypeVar("T")


@dataclass(frozen=True)
class Part:
    """What becomes one graph.

    Attributes:
        function: from named tensors to named tensors, without side effects; it may call `torch.func` transforms.
        inputs: examples of its inputs. Dynamic axes of one size are taken for the same; no other part may have a
            dynamic axis of that size.
        dynamic: for each input, the axes whose size may change.
    """

    function: Function
    inputs: Named
    dynamic: Mapping[str, Sequence[int]] = field(default_factory=dict)


def trace(parts: Mapping[str, Part]) -> dict[str, onnx.ModelProto]:
    """Export functions, gradients and all; together, since the exporter takes longer to start than to work.

    Args:
        parts: by the name of the graph, for errors.

    Returns:
        Models whose inputs and outputs carry the names of a part's inputs and of its function's result. Inputs that do
        not matter to the result are left out.

    Raises:
        CompileError: control flow that depends on data, an axis that the model fixes, or an operator without
            translation.
    """

    def together(values: Named) -> Named:
        return _joined({graph: _run(graph, part.function, pick(graph, values)) for graph, part in parts.items()})

    inputs = _joined({graph: part.inputs for graph, part in parts.items()})
    dynamic = _joined({graph: part.dynamic for graph, part in parts.items()})
    with quiet():
        try:
            model = translate(capture(together, inputs, dynamic), list(inputs))
            return {graph: _extract(model, f"{graph}.") for graph in parts}
        except TeguError:
            raise
        except Exception as error:  # torch raises dozens of types here, many of them private
            raise CompileError(_explain(" or ".join(parts), error)) from error


def _joined(groups: Mapping[str, Mapping[str, T]]) -> dict[str, T]:
    return {name: value for graph, group in groups.items() for name, value in named(graph, group).items()}


def _run(graph: str, function: Function, values: Named) -> Named:
    try:
        return function(values)
    except TeguError:
        raise
    except Exception as error:  # as in `trace`
        raise CompileError(_explain(graph, error)) from error


def _extract(model: onnx_ir.Model, prefix: str) -> onnx.ModelProto:
    """The part of `model` whose inputs and outputs begin with `prefix`, without it."""
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
    """The same model, and the same bytes each time: onnx_ir lists constants as a set has them."""
    model.graph.initializer.sort(key=lambda tensor: tensor.name)
    model.graph.value_info.sort(key=lambda value: value.name)
    return model


def _explain(graph: str, error: Exception) -> str:
    causes = list(_causes(error))
    first = next((line for cause in reversed(causes) for line in str(cause).splitlines() if line.strip()), "")
    found = f"{type(causes[-1]).__name__}: {first}"
    data_dependent = ("data-dependent", "GuardOnDataDependent", "data dependent", "is_nonzero", "local_scalar_dense")
    if any(sign in f"{type(cause).__name__} {cause}" for cause in causes for sign in data_dependent):
        return (
            f"the {graph} graph cannot be compiled: the model's control flow or a shape depends on the data "
            f"({found}); write it with torch.where, or choose the branch before the model is built"
        )
    return f"the {graph} graph cannot be compiled: {found}; replace the operator it names"


def _causes(error: BaseException | None) -> Iterator[BaseException]:
    while error is not None:
        yield error
        error = error.__cause__ or error.__context__
