"""Compare a graph's outputs with torch's, on inputs that the graph was not traced with."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping

import numpy as np
import onnx
from torch import Tensor

from tegu.compile.named_tensors import Function
from tegu.core.data.batch import Array
from tegu.core.errors import CompileError, require

__all__ = ["FLOOR", "TOLERANCE", "check_graph"]

TOLERANCE = 1e-4
# Differences are relative to a tensor's largest absolute entry, but to no less than FLOOR. An update is a difference of
# float32 numbers near 1, so an error of 1e-6 in it is rounding.
FLOOR = 1e-2
# A ReLU or a maximum near a tie magnifies rounding, in torch too. So a graph's distance from float64 may be twice that
# of torch's float32, but never more than this.
_MAX_ROUNDING = 1e-2
_LOG_ERRORS_ONLY = 3


def check_graph(
    model: onnx.ModelProto,
    function: Function,
    cases: Iterable[Mapping[str, Tensor]],
    graph: str,
    tolerance: float = TOLERANCE,
) -> bytes:
    """Serialise `model` after checking that it agrees with `function` on every case.

    Args:
        model: the graph; its inputs and outputs are named as those of `function`.
        function: the reference, in torch.
        cases: inputs by name.
        graph: the graph's name in errors.
        tolerance: the largest relative difference allowed.

    Returns:
        The serialised model.

    Raises:
        CompileError: the model does not run, or a tensor differs by more than `tolerance` and by more than rounding
            explains. The message names the graph, the tensor and the difference.
    """
    data: bytes = model.SerializeToString()
    run = _runner(data, graph)
    for case in cases:
        expected = {name: tensor.detach().numpy() for name, tensor in function(case).items()}
        found = run(case)
        worst = {name: _difference(graph, name, value, found[name]) for name, value in expected.items()}
        if not all(difference <= tolerance for difference in worst.values()):  # also true for NaN
            exact = _in_float64(function, case) or expected
            for name, value in exact.items():
                rounding = _difference(graph, name, value, expected[name])
                limit = max(tolerance, min(2 * rounding, _MAX_ROUNDING))
                _raise_if_above(graph, name, _difference(graph, name, value, found[name]), limit)
    return data


def _runner(data: bytes, graph: str) -> Callable[[Mapping[str, Tensor]], dict[str, Array]]:
    ort = require("onnxruntime", "onnx")
    options = ort.SessionOptions()
    options.intra_op_num_threads = 1  # cases are small: starting threads takes longer than running them
    options.log_severity_level = _LOG_ERRORS_ONLY  # warnings concern optimisations that it did not apply
    try:
        session = ort.InferenceSession(data, options, providers=["CPUExecutionProvider"])
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


def _in_float64(function: Function, case: Mapping[str, Tensor]) -> dict[str, Array] | None:
    """The function's results in double precision. None means that the model accepts only float32."""
    precise = {name: tensor.double() if tensor.is_floating_point() else tensor for name, tensor in case.items()}
    try:
        return {name: tensor.detach().numpy() for name, tensor in function(precise).items()}
    except Exception:  # torch raises many exception types when dtypes are mixed
        return None


def _difference(graph: str, name: str, expected: Array, found: Array) -> float:
    if expected.shape != found.shape:
        raise CompileError(
            f"the {graph} graph gives {name} of shape {found.shape}: torch gives {expected.shape}; "
            "take sizes from x.shape in the model and the loss"
        )
    scale = max(float(np.max(np.abs(expected), initial=0.0)), FLOOR)
    return float(np.max(np.abs(expected - found), initial=0.0)) / scale


def _raise_if_above(graph: str, name: str, difference: float, limit: float) -> None:
    if not difference <= limit:  # also true for NaN
        raise CompileError(
            f"the {graph} graph disagrees with torch: {name} differs by {difference:.1e} relative (limit {limit:.0e}); "
            "it uses an operator whose gradient is exported wrongly, so write the model or the loss without it"
        )
