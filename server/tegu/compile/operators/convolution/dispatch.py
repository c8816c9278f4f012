"""Which form a convolution and its gradients take: Winograd's minimal filtering, im2col, or the sliding kernel."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal, TypeAlias

from torch import Tensor

from tegu.compile.operators.convolution import im2col, winograd
from tegu.compile.operators.convolution.sliding_gradients import sliding_gradients, transposed_gradients

__all__ = ["Form", "convolution", "convolution_backward", "form_of"]

Form: TypeAlias = Literal["winograd", "im2col", "sliding"]


def form_of(
    x: Tensor, weight: Tensor, stride: Sequence[int], padding: Sequence[int], dilation: Sequence[int], groups: int
) -> Form:
    """The form expected to be fastest for many rows, for a convolution that is not transposed.

    Args:
        x: the input `[n, channels, ...]`.
        weight: the kernels `[filters, channels / groups, ...]`.
        stride: one number an axis, as `padding` and `dilation`.
        padding: zeros at either end of an axis.
        dilation: the distance between a kernel's entries.
        groups: groups of channels.
    """
    if x.dim() != 4 or groups != 1 or {*stride, *dilation} != {1}:
        return "sliding"
    if winograd.is_faster(x.shape, weight.shape, padding):
        return "winograd"
    return "im2col" if im2col.is_faster(x.shape, weight.shape) else "sliding"


def convolution(
    x: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    stride: Sequence[int],
    padding: Sequence[int],
    dilation: Sequence[int],
    transposed: bool,
    output_padding: Sequence[int],
    groups: int,
) -> Any:
    """`aten.convolution` in its fastest form. NotImplemented keeps the operator, which becomes an ONNX Conv."""
    del output_padding
    form = "sliding" if transposed else form_of(x, weight, stride, padding, dilation, groups)
    if form == "winograd":
        return winograd.convolution(x, weight, bias, padding)
    if form == "im2col":
        return im2col.convolution(x, weight, bias, padding)
    return NotImplemented


def convolution_backward(
    grad: Tensor,
    x: Tensor,
    weight: Tensor,
    bias_sizes: Sequence[int] | None,
    stride: Sequence[int],
    padding: Sequence[int],
    dilation: Sequence[int],
    transposed: bool,
    output_padding: Sequence[int],
    groups: int,
    output_mask: Sequence[bool],
) -> tuple[Tensor | None, Tensor | None, Tensor | None]:
    """`aten.convolution_backward`: the gradients by input, weight and bias; None for each that `output_mask` omits."""
    del bias_sizes, output_padding
    if transposed:
        grad_x, grad_weight = transposed_gradients(grad, x, weight, stride, padding, dilation, groups, output_mask)
        return grad_x, grad_weight, _bias_gradient(grad, output_mask)
    form = form_of(x, weight, stride, padding, dilation, groups)
    if form == "winograd":
        grad_x = winograd.input_gradient(grad, x, weight, padding) if output_mask[0] else None
        grad_weight = winograd.weight_gradient(grad, x, weight, padding) if output_mask[1] else None
    elif form == "im2col":
        only_x = (output_mask[0], False)
        grad_x, _ = sliding_gradients(grad, x, weight, stride, padding, dilation, groups, only_x)
        grad_weight = im2col.weight_gradient(grad, x, weight, padding) if output_mask[1] else None
    else:
        grad_x, grad_weight = sliding_gradients(grad, x, weight, stride, padding, dilation, groups, output_mask)
    return grad_x, grad_weight, _bias_gradient(grad, output_mask)


def _bias_gradient(grad: Tensor, wanted: Sequence[bool]) -> Tensor | None:
    return grad.sum([0, *range(2, grad.dim())]) if wanted[2] else None
