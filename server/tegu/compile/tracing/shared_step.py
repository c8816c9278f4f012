"""The compiled step of an adaptation that no model takes part in: one for all models whose features have one width."""

from __future__ import annotations

from collections.abc import Iterator

import onnx

from tegu.compile.tracing.cache import cached, digest_of, learner_code
from tegu.compile.tracing.trace import GraphSource, trace
from tegu.core.errors import CompileError

__all__ = ["shared_step"]

_READ = ("carry.", "knob.", "support.mask")


def shared_step(name: str, source: GraphSource, identity: str) -> onnx.ModelProto:
    """The model of a step, recorded only if no step of this identity was compiled for inputs of these shapes.

    Args:
        name: the graph's name, which errors give.
        source: the step.
        identity: names what the step computes; see `Iterated.step_identity`.

    Raises:
        CompileError: as `trace`, or the step reads more than the carry, the support's mask and the knobs.
    """
    key = digest_of([name, identity, *learner_code(), *_shapes(source)])
    return cached(key, lambda: {name: _checked(trace({name: source})[name], identity)})[name]


def _checked(model: onnx.ModelProto, identity: str) -> onnx.ModelProto:
    """The model, if it reads nothing that the key leaves out."""
    others = [value.name for value in model.graph.input if not value.name.startswith(_READ)]
    if others:
        raise CompileError(
            f"the step {identity!r} reads {', '.join(others)}: a step with an identity may read the carry, the "
            "support's mask and the knobs; leave step_identity empty"
        )
    return model


def _shapes(source: GraphSource) -> Iterator[str]:
    for name, value in source.inputs.items():
        if name.startswith(_READ):
            yield f"{name} {value.dtype} {tuple(value.shape)} {tuple(source.dynamic.get(name, ()))}"
