"""Convolutions that slide their kernels: faster than any preparation where rows are few."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
import torch.nn.functional as F  # noqa: N812 # the name torch's own documentation uses
from onnxscript import opset18
from torch import Tensor
from torch.nn.modules.utils import _pair
from torch.overrides import TorchFunctionMode

from tegu.compile.named_tensors import Function, Named
from tegu.compile.operators.convolution.dispatch import replaces_convolution
from tegu.compile.operators.convolution.sliding_gradients import sliding_gradients

__all__ = ["TRANSLATIONS", "has_replaced_convolutions", "sliding"]


def sliding(function: Function) -> Function:
    """`function`, whose convolutions over two axes become one ONNX Conv each, and their gradients others."""

    def slid(values: Named) -> Named:
        with _Sliding():
            return function(values)

    return slid


def has_replaced_convolutions(function: Function, inputs: Named) -> bool:
    """Whether a convolution of `function` would be compiled to something else than an ONNX Conv."""
    with _Sliding() as mode, torch.no_grad():
        function(inputs)
    return bool(mode.kept)


class _Sliding(TorchFunctionMode):
    """While it lasts, the convolutions that the decompositions would replace are kept whole.

    Attributes:
        kept: whether there was one.
    """

    def __init__(self) -> None:
        super().__init__()
        self.kept: bool = False

    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: tuple[Any, ...] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        """See `torch.overrides`."""
        options = kwargs or {}
        result = _kept(*args, **options) if func is F.conv2d else None
        if result is None:
            return func(*args, **options)
        self.kept = True
        return result


def _kept(
    input: Tensor,  # noqa: A002 # torch's own names of the parameters
    weight: Tensor,
    bias: Tensor | None = None,
    stride: int | Sequence[int] = 1,
    padding: str | int | Sequence[int] = 0,
    dilation: int | Sequence[int] = 1,
    groups: int = 1,
) -> Tensor | None:
    """The convolution as one operator; None where the decompositions leave it alone."""
    if padding == "same" and not all(size % 2 for size in weight.shape[2:]):
        return None  # the two ends are padded differently
    if isinstance(padding, str):
        padding = [size // 2 if padding == "same" else 0 for size in weight.shape[2:]]
    edge, steps, gaps = (list(_pair(value)) for value in (padding, stride, dilation))
    if not replaces_convolution(input, weight, steps, edge, gaps, groups):
        return None
    added = weight.new_zeros(len(weight)) if bias is None else bias
    result: Tensor = _Convolution.apply(input, weight, added, edge)  # type: ignore[no-untyped-call] # torch leaves it bare
    return result


class _Convolution(torch.autograd.Function):
    """The operator with its gradients: those that custom operators have do not go with `torch.func`."""

    @staticmethod
    def forward(x: Tensor, weight: Tensor, bias: Tensor, padding: Sequence[int]) -> Tensor:
        result: Tensor = _convolution(x, weight, bias, padding)
        return result

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
        x, weight, _, ctx.padding = inputs
        ctx.save_for_backward(x, weight)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        x, weight = ctx.saved_tensors
        by_both = sliding_gradients(grad, x, weight, [1, 1], ctx.padding, [1, 1], 1)
        return *by_both, grad.sum([0, 2, 3]), None


@torch.library.custom_op("tegu::sliding_convolution", mutates_args=())
def _convolution(x: Tensor, weight: Tensor, bias: Tensor, padding: Sequence[int]) -> Tensor:
    return F.conv2d(x, weight, bias, padding=padding)


@_convolution.register_fake
def _(x: Tensor, weight: Tensor, bias: Tensor, padding: Sequence[int]) -> Tensor:
    del bias
    sizes = [x.shape[axis] + 2 * padding[axis - 2] - weight.shape[axis] + 1 for axis in (2, 3)]
    return x.new_empty((x.shape[0], weight.shape[0], *sizes))


def _translated(x: Any, weight: Any, bias: Any, padding: Sequence[int]) -> Any:
    return opset18.Conv(x, weight, bias, pads=[*padding, *padding])


TRANSLATIONS: dict[Callable[..., Any], Callable[..., Any]] = {torch.ops.tegu.sliding_convolution.default: _translated}
