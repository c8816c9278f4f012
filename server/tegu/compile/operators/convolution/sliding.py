"""Keep convolutions as single ONNX Conv operators: for few rows these are faster than the forms of `dispatch`."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
import torch.nn.functional as F  # noqa: N812 # the name torch's own documentation uses
from torch import Tensor
from torch.nn.modules.utils import _pair
from torch.overrides import TorchFunctionMode

from tegu.compile.named_tensors import Function, Named
from tegu.compile.operators.convolution.dispatch import form_of
from tegu.compile.operators.convolution.sliding_gradients import sliding_gradients

__all__ = ["CONVOLUTION", "has_replaced_convolutions", "sliding"]


def sliding(function: Function) -> Function:
    """`function` with each convolution that `dispatch` would replace kept as one operator.

    Gradients are those of `sliding_gradients`.
    """

    def with_sliding_convolutions(values: Named) -> Named:
        with _KeepConvolutions():
            return function(values)

    return with_sliding_convolutions


def has_replaced_convolutions(function: Function, inputs: Named) -> bool:
    """Whether `dispatch` would replace a convolution of `function`, so that `sliding` makes a difference."""
    with _KeepConvolutions() as mode, torch.no_grad():
        function(inputs)
    return bool(mode.has_kept)


class _KeepConvolutions(TorchFunctionMode):
    """While this mode is active, convolutions that `dispatch` would replace are kept as one operator.

    Attributes:
        has_kept: whether there was such a convolution.
    """

    def __init__(self) -> None:
        super().__init__()
        self.has_kept: bool = False

    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: tuple[Any, ...] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        """See `torch.overrides`."""
        options = kwargs or {}
        result = _kept_convolution(*args, **options) if func is F.conv2d else None
        if result is None:
            return func(*args, **options)
        self.has_kept = True
        return result


def _kept_convolution(
    input: Tensor,  # noqa: A002 # the parameter's name in torch
    weight: Tensor,
    bias: Tensor | None = None,
    stride: int | Sequence[int] = 1,
    padding: str | int | Sequence[int] = 0,
    dilation: int | Sequence[int] = 1,
    groups: int = 1,
) -> Tensor | None:
    """The convolution as one operator. None means that `dispatch` does not replace it."""
    if padding == "same" and not all(size % 2 for size in weight.shape[2:]):
        return None  # torch pads the two ends differently
    if isinstance(padding, str):
        padding = [size // 2 if padding == "same" else 0 for size in weight.shape[2:]]
    pads, strides, dilations = (list(_pair(value)) for value in (padding, stride, dilation))
    if form_of(input, weight, strides, pads, dilations, groups) == "sliding":
        return None
    bias_or_zeros = weight.new_zeros(len(weight)) if bias is None else bias
    result: Tensor = _Convolution.apply(input, weight, bias_or_zeros, pads)  # type: ignore[no-untyped-call] # torch does not annotate it
    return result


class _Convolution(torch.autograd.Function):
    """The operator with its gradients. `torch.func` does not support gradients registered with a custom operator."""

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
        grad_x, grad_weight = sliding_gradients(grad, x, weight, [1, 1], ctx.padding, [1, 1], 1)
        return grad_x, grad_weight, grad.sum([0, 2, 3]), None


@torch.library.custom_op("tegu::sliding_convolution", mutates_args=())
def _convolution(x: Tensor, weight: Tensor, bias: Tensor, padding: Sequence[int]) -> Tensor:
    return F.conv2d(x, weight, bias, padding=padding)


@_convolution.register_fake
def _(x: Tensor, weight: Tensor, bias: Tensor, padding: Sequence[int]) -> Tensor:
    del bias
    sizes = [x.shape[axis] + 2 * padding[axis - 2] - weight.shape[axis] + 1 for axis in (2, 3)]
    return x.new_empty((x.shape[0], weight.shape[0], *sizes))


CONVOLUTION = torch.ops.tegu.sliding_convolution.default
"""The operator, as a recording has it."""
