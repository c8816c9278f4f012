"""The translation to ONNX of the operators that Tegu adds to torch."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from onnxscript import opset18

from tegu.compile.operators.broadcast_matmul import PRODUCT
from tegu.compile.operators.convolution.sliding import CONVOLUTION

__all__ = ["TRANSLATIONS"]


def _product(a: Any, b: Any) -> Any:
    return opset18.MatMul(a, b)


def _sliding_convolution(x: Any, weight: Any, bias: Any, padding: Sequence[int]) -> Any:
    return opset18.Conv(x, weight, bias, pads=[*padding, *padding])


TRANSLATIONS: Mapping[Callable[..., Any], Callable[..., Any]] = {
    PRODUCT: _product,
    CONVOLUTION: _sliding_convolution,
}
