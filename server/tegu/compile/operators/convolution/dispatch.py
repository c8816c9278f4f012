"""Which form a convolution and its gradients take: minimal filtering, im2col, or the sliding kernel."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from torch import Tensor

from tegu.compile.operators.convolution import im2col, winograd
from tegu.compile.operators.convolution.sliding_gradients import sliding_gradients
from tegu.core.errors import CompileError

__all__ = ["convolution", "convolution_backward", "replaces_convolution"]


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
    """`aten.convolution` in its fastest form; NotImplemented leaves the operator as it is."""
    del output_padding
    if not transposed and replaces_convolution(x, weight, stride, padding, dilation, groups):
        if winograd.is_faster(x.shape, weight.shape, padding):
            return winograd.convolution(x, weight, bias, padding)
        return im2col.convolution(x, weight, bias, padding)
    return NotImplemented


def replaces_convolution(
    x: Tensor, weight: Tensor, stride: Sequence[int], padding: Sequence[int], dilation: Sequence[int], groups: int
) -> bool:
    """Whether minimal filtering or im2col is faster than sliding for a convolution that is not transposed."""
    shapes = x.shape, weight.shape
    plain = x.dim() == 4 and groups == 1 and {*stride, *dilation} == {1}
    return plain and (winograd.is_faster(*shapes, padding) or im2col.is_faster(*shapes))


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
    """`aten.convolution_backward`: the gradients by input, weight and bias; None for each that `output_mask` omits.

    Raises:
        CompileError: the convolution is transposed.
    """
    del bias_sizes, output_padding
    if transposed:
        raise CompileError("the gradient of a transposed convolution cannot be compiled: use Upsample and Conv")
    if not replaces_convolution(x, weight, stride, padding, dilation, groups):
        grad_x, grad_weight = sliding_gradients(grad, x, weight, stride, padding, dilation, groups, output_mask)
    elif winograd.is_faster(x.shape, weight.shape, padding):
        grad_x = winograd.input_gradient(grad, x, weight, padding) if output_mask[0] else None
        grad_weight = winograd.weight_gradient(grad, x, weight, padding) if output_mask[1] else None
    else:
        only_x = (output_mask[0], False)
        grad_x, _ = sliding_gradients(grad, x, weight, stride, padding, dilation, groups, only_x)
        grad_weight = im2col.weight_gradient(grad, x, weight, padding) if output_mask[1] else None
    return grad_x, grad_weight, grad.sum([0, *range(2, grad.dim())]) if output_mask[2] else None
