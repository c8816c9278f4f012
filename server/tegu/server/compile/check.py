"""A graph's outputs against torch's, on inputs that it was not traced with."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping

import numpy as np
import onnx
from torch import Tensor

from tegu.core.batch import Array
from tegu.core.errors import CompileError, require
from tegu.server.compile.trace import Function

__all__ = ["FLOOR", "TOLERANCE", "check_graph"]

TOLERANCE = 1e-4
# Differences are relative to a tensor's largest entry, or to this where all are smaller: an update is a difference of
# float32 numbers near 1, so 1e-6 of it is rounding.
FLOOR = 1e-2


def check_graph(
    model: onnx.ModelProto,
    function: Function,
    cases: Iterable[Mapping[str, Tensor]],
    graph: str,
    tolerance: float = TOLERANCE,
) -> bytes:
    """Serialise `model` once it agrees with `function` on every case.

    Raises:
        CompileError: it does not run, or a tensor differs by more than `tolerance` relative; the message names the
            graph, the tensor and the worst difference.
    """
    data: bytes = model.SerializeToString()
    run = _runner(data, graph)
    for case in cases:
        expected = function(case)
        found = run(case)
        for name, tensor in expected.items():
            _compare(graph, name, tensor.detach().numpy(), found[name], tolerance)
    return data


def _runner(data: bytes, graph: str) -> Callable[[Mapping[str, Tensor]], dict[str, Array]]:
    ort = require("onnxruntime", "onnx")
    try:
        session = ort.InferenceSession(data, providers=["CPUExecutionProvider"])
    except Exception as error:  # onnxruntime's exceptions share no base class
        raise CompileError(f"the {graph} graph does not load in ONNX Runtime: {error}") from error
    inputs = [value.name for value in session.get_inputs()]
    outputs = [value.name for value in session.get_outputs()]

    def run(case: Mapping[str, Tensor]) -> dict[str, Array]:
        try:
            results = session.run(outputs, {name: case[name].numpy() for name in inputs})
        except Exception as error:  # as above
            shapes = {name: tuple(case[name].shape) for name in inputs}
            raise CompileError(f"the {graph} graph fails on inputs of shapes {shapes}: {error}") from error
        return dict(zip(outputs, results, strict=True))

    return run


def _compare(graph: str, name: str, expected: Array, found: Array, tolerance: float) -> None:
    if expected.shape != found.shape:
        raise CompileError(f"the {graph} graph gives {name} of shape {found.shape}: torch gives {expected.shape}")
    scale = max(float(np.max(np.abs(expected), initial=0.0)), FLOOR)
    worst = float(np.max(np.abs(expected - found), initial=0.0)) / scale
    if not worst <= tolerance:  # also true for NaN
        raise CompileError(
            f"the {graph} graph disagrees with torch: {name} differs by {worst:.1e} relative (limit {tolerance:.0e}); "
            "it uses an operator whose gradient is exported wrongly, so write the model or the loss without it"
        )
