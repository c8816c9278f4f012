"""Compare a graph's outputs with torch's, on inputs that the graph was not traced with."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping

import numpy as np
import onnx
from torch import Tensor

from tegu.compile.named_tensors import Function
from tegu.compile.rounding import Rounding, measure_rounding
from tegu.core.data.batch import Array
from tegu.core.errors import CompileError, require

__all__ = ["TOLERANCE", "check_graph"]

TOLERANCE = 1e-4  # relative to a tensor's largest absolute entry
_SMALLEST = 1e-7  # an absolute difference that is rounding of numbers near 1, whose difference may be 0
# A graph's distance from the exact result may be so many times as large as what rounding does to torch's own. Up to 10
# was seen, for Winograd's convolutions.
_TIMES_ROUNDING = 16
# Near a tie of ReLU or a maximum, rounding moves a gradient by any amount, so no more than this is taken for rounding:
# relative to the largest entry, but to no less than _FLOOR, as a difference of large numbers may vanish.
_MAX_ROUNDING = 1e-2
_FLOOR = 1e-2
_TIE_UNITS, _TIE_DRAWS = 32, 16  # how far inputs are changed to find a tie, in units of the last digit; how often
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
        CompileError: the model does not run, torch's own result is not finite, or a tensor differs by more than
            `tolerance` and by more than rounding explains. The message names the graph, the tensor and the difference.
    """
    data: bytes = model.SerializeToString()
    run = _runner(data, graph)
    for case in cases:
        expected = {name: tensor.detach().numpy() for name, tensor in function(case).items()}
        found = run(case)
        for name, value in expected.items():
            _check_value(graph, name, value, found[name])
        worst = {name: _largest(found[name] - value) for name, value in expected.items()}
        if not all(worst[name] <= tolerance * _largest(value) for name, value in expected.items()):
            _check_beyond_rounding(graph, function, case, found, tolerance)
    return data


def _check_value(graph: str, name: str, expected: Array, found: Array) -> None:
    if expected.shape != found.shape:
        raise CompileError(
            f"the {graph} graph gives {name} of shape {found.shape}: torch gives {expected.shape}; "
            "take sizes from x.shape in the model and the loss"
        )
    if not np.isfinite(expected).all():
        raise CompileError(
            f"{name} in the {graph} graph is {expected[~np.isfinite(expected)].flat[0]} in torch itself, for random "
            "rows near the first parameters: expected finite values and gradients; avoid roots, logarithms, divisions "
            "and norms at 0 in the model and the loss, or add a small number to what they are taken of"
        )


def _check_beyond_rounding(
    graph: str, function: Function, case: Mapping[str, Tensor], found: Mapping[str, Array], tolerance: float
) -> None:
    if _unexplained(measure_rounding(function, case), _TIMES_ROUNDING, found, tolerance) is None:
        return
    # A graph rounds otherwise than torch at every operator, and may so take the other side of a tie that is further
    # away than the last digit of an input.
    wider = measure_rounding(function, case, _TIE_UNITS, _TIE_DRAWS)
    if name := _unexplained(wider, 1, found, tolerance):
        exact = wider.exact[name]
        difference, scale = _largest(found[name] - exact), max(_largest(exact), _SMALLEST)
        limit = _limit(exact, wider.moved[name], tolerance)
        raise CompileError(
            f"the {graph} graph disagrees with torch: {name} differs by {difference / scale:.1e} relative "
            f"(limit {limit / scale:.0e}); it uses an operator whose gradient is exported wrongly, so write the "
            "model or the loss without it"
        )


def _unexplained(rounding: Rounding, times: int, found: Mapping[str, Array], tolerance: float) -> str | None:
    """The first tensor that differs by more than `times` the measured rounding; None if there is none."""
    for name, exact in rounding.exact.items():
        if not _largest(found[name] - exact) <= _limit(exact, times * rounding.moved[name], tolerance):  # also for NaN
            return name
    return None


def _limit(exact: Array, rounding: float, tolerance: float) -> float:
    scale = _largest(exact)
    return max(tolerance * scale, min(rounding, _MAX_ROUNDING * max(scale, _FLOOR)), _SMALLEST)


def _largest(values: Array) -> float:
    return float(np.max(np.abs(values), initial=0.0))


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
