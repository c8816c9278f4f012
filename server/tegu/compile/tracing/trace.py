"""Export torch functions of named tensors to ONNX models with the same names."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, TypeVar

import onnx

from tegu.compile.named_tensors import Function, Named
from tegu.compile.quiet import quiet
from tegu.compile.tracing.cache import cached, digest_of, fingerprint, is_kept, learner_code
from tegu.compile.tracing.executed import executed_operators
from tegu.compile.tracing.naming import under_prefix, with_prefix
from tegu.core.errors import CompileError, TeguError

if TYPE_CHECKING:
    from tegu.compile.tracing.capture import Captured

__all__ = ["GraphSource", "check_source", "trace"]

T = TypeVar("T")


@dataclass(frozen=True)
class GraphSource:
    """A function to export as one graph.

    Attributes:
        function: from named tensors to named tensors, without side effects. It may call `torch.func` transforms.
        inputs: examples of its inputs. Dynamic axes of equal size share one symbolic size. No other source in the same
            `trace` may have a dynamic axis of that size.
        dynamic: for each input, the axes whose size may change.
        others: the same inputs with other sizes of the dynamic axes, which tell a size from a number equal to it.
    """

    function: Function
    inputs: Named
    dynamic: Mapping[str, Sequence[int]] = field(default_factory=dict)
    others: Sequence[Named] = ()

    def __repr__(self) -> str:
        shapes = {name: tuple(value.shape) for name, value in self.inputs.items()}
        return f"GraphSource(inputs={shapes}, dynamic={dict(self.dynamic)})"


def trace(sources: Mapping[str, GraphSource]) -> dict[str, onnx.ModelProto]:
    """Export functions, gradients included, in one call: the exporter takes longer to start than to work.

    Args:
        sources: what to export, by the graph's name, which errors give.

    Returns:
        A model for each source. Inputs and outputs have the names of the function's. Inputs that do not affect the
        result are left out.

    Raises:
        CompileError: control flow depends on data, the model fixes a dynamic axis, or an operator has no translation.
    """
    inputs = list(_joined({graph: source.inputs for graph, source in sources.items()}))
    with _explained(" or ".join(sources)):
        key = _key(sources)
        if key is not None:
            return cached(key, lambda: _translated(_captured(sources), inputs, list(sources)))
        captured = _captured(sources)
        return cached(fingerprint(captured, inputs), lambda: _translated(captured, inputs, list(sources)))


def check_source(graph: str, source: GraphSource) -> None:
    """Check that a function can be recorded for any size of its dynamic axes, without translating it.

    Raises:
        CompileError: as `trace`.
    """
    with _explained(graph):
        _captured({graph: source})


@contextmanager
def _explained(graphs: str) -> Iterator[None]:
    with quiet():
        try:
            yield
        except TeguError:
            raise
        except Exception as error:  # torch raises dozens of exception types here, many of them private
            raise CompileError(_explain(graphs, error)) from error


def _captured(sources: Mapping[str, GraphSource]) -> Captured:
    # Imported here, because recording and translating take seconds to import, and graphs that were kept need neither.
    from tegu.compile.tracing.capture import capture  # noqa: PLC0415

    def all_graphs(values: Named) -> Named:
        return _joined(
            {graph: _run(graph, source.function, under_prefix(graph, values)) for graph, source in sources.items()}
        )

    inputs = _joined({graph: source.inputs for graph, source in sources.items()})
    return capture(all_graphs, inputs, _joined({graph: source.dynamic for graph, source in sources.items()}))


def _key(sources: Mapping[str, GraphSource]) -> str | None:
    """A digest of all that the graphs depend on, found without a recording; None if there is none."""
    parts = list[str]()
    for graph, source in sources.items() if is_kept() else ():
        operators = executed_operators(source.function, (source.inputs, *source.others)) if source.others else None
        if operators is None:
            return None
        parts += [graph, operators, *(f"{name} {tuple(axes)}" for name, axes in source.dynamic.items())]
    return digest_of([*parts, *learner_code()]) if parts else None


def _translated(captured: Captured, inputs: Sequence[str], graphs: Sequence[str]) -> dict[str, onnx.ModelProto]:
    from tegu.compile.tracing.translate import translate_each  # noqa: PLC0415 # as in `_captured`

    return translate_each(captured, inputs, graphs)


def _joined(groups: Mapping[str, Mapping[str, T]]) -> dict[str, T]:
    return {name: value for graph, group in groups.items() for name, value in with_prefix(graph, group).items()}


def _run(graph: str, function: Function, values: Named) -> Named:
    try:
        return function(values)
    except TeguError:
        raise
    except Exception as error:  # as in `trace`
        raise CompileError(_explain(graph, error)) from error


def _explain(graph: str, error: Exception) -> str:
    causes = list(_causes(error))
    first = next((line for cause in reversed(causes) for line in str(cause).splitlines() if line.strip()), "")
    found = f"{type(causes[-1]).__name__}: {first}"
    data_dependent = ("data-dependent", "GuardOnDataDependent", "data dependent", "is_nonzero", "local_scalar_dense")
    if any(phrase in f"{type(cause).__name__} {cause}" for cause in causes for phrase in data_dependent):
        return (
            f"the {graph} graph cannot be compiled: the model's control flow or a shape depends on the data "
            f"({found}); write it with torch.where, or choose the branch before the model is built"
        )
    if any("setup_context" in str(cause) for cause in causes):
        return (
            f"the {graph} graph cannot be compiled: the forward of a torch.autograd.Function takes ctx; write "
            "forward(*inputs) without ctx, a static method setup_context(ctx, inputs, output) that saves tensors, and "
            "generate_vmap_rule = True, as torch's guide to functions under torch.func shows"
        )
    return f"the {graph} graph cannot be compiled: {found}; write the model without it"


def _causes(error: BaseException | None) -> Iterator[BaseException]:
    while error is not None:
        yield error
        error = error.__cause__ or error.__context__
