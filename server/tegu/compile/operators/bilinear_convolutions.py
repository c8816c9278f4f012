"""Convolutions whose second derivatives are for any number of rows.

torch writes the second derivatives of a convolution with the sizes of its inputs as numbers, so that a graph of them
would be for one number of rows. Yet a convolution, its gradient by the input and its gradient by the kernels are each
linear in two of three tensors, and a derivative of one is one of the others:

    y = conv(x, w)    <g, conv(x, w)> = <by_input(g, w), x> = <by_kernels(g, x), w>
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode

__all__ = ["BilinearConvolutions"]

_aten = torch.ops.aten
_NAMES = ("input", "weight", "bias", "stride", "padding", "dilation", "groups")
_DEFAULTS = {"bias": None, "stride": 1, "padding": 0, "dilation": 1, "groups": 1}


class _Form(NamedTuple):
    """How a kernel moves; one number an axis, but for `groups`."""

    stride: tuple[int, ...]
    padding: tuple[int, ...]
    dilation: tuple[int, ...]
    groups: int


class _Convolution(torch.autograd.Function):
    generate_vmap_rule = True

    @staticmethod
    def forward(x: Tensor, weight: Tensor, form: _Form) -> Any:
        return _aten.convolution(x, weight, None, *form[:3], False, [0] * len(form.stride), form.groups)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Tensor, Tensor, _Form], output: Tensor) -> None:
        ctx.save_for_backward(*inputs[:2])
        ctx.form = inputs[2]

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> Any:
        x, weight = ctx.saved_tensors
        return _ByInput.apply(grad, weight, x, ctx.form), _ByKernels.apply(grad, x, weight, ctx.form), None  # type: ignore[no-untyped-call] # torch has no type for it


class _ByInput(torch.autograd.Function):
    """The gradient by the input; `x` gives its shape alone."""

    generate_vmap_rule = True

    @staticmethod
    def forward(grad: Tensor, weight: Tensor, x: Tensor, form: _Form) -> Any:
        return _backward(grad, x, weight, form, (True, False, False))[0]

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Tensor, Tensor, Tensor, _Form], output: Tensor) -> None:
        ctx.save_for_backward(*inputs[:2])
        ctx.form = inputs[3]

    @staticmethod
    def backward(ctx: Any, upper: Tensor) -> Any:
        grad, weight = ctx.saved_tensors
        return _Convolution.apply(upper, weight, ctx.form), _ByKernels.apply(grad, upper, weight, ctx.form), None, None  # type: ignore[no-untyped-call] # as above


class _ByKernels(torch.autograd.Function):
    """The gradient by the kernels; `weight` gives their shape alone."""

    generate_vmap_rule = True

    @staticmethod
    def forward(grad: Tensor, x: Tensor, weight: Tensor, form: _Form) -> Any:
        return _backward(grad, x, weight, form, (False, True, False))[1]

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Tensor, Tensor, Tensor, _Form], output: Tensor) -> None:
        ctx.save_for_backward(*inputs[:2])
        ctx.form = inputs[3]

    @staticmethod
    def backward(ctx: Any, upper: Tensor) -> Any:
        grad, x = ctx.saved_tensors
        return _Convolution.apply(x, upper, ctx.form), _ByInput.apply(grad, upper, x, ctx.form), None, None  # type: ignore[no-untyped-call] # as above


def _backward(grad: Tensor, x: Tensor, weight: Tensor, form: _Form, mask: tuple[bool, bool, bool]) -> Any:
    zeros = [0] * len(form.stride)
    return _aten.convolution_backward(grad, x, weight, None, *form[:3], False, zeros, form.groups, mask)


class BilinearConvolutions(TorchFunctionMode):
    """While this mode is active, convolutions have second derivatives for any number of rows.

    Transposed convolutions, and those whose padding is a word, keep torch's own.
    """

    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: tuple[Any, ...] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        """See `torch.overrides`."""
        if func not in (torch.conv1d, torch.conv2d, torch.conv3d):
            return func(*args, **(kwargs or {}))
        given = {**_DEFAULTS, **dict(zip(_NAMES, args, strict=False)), **(kwargs or {})}
        x, weight, bias = given["input"], given["weight"], given["bias"]
        axes = weight.dim() - 2
        if isinstance(given["padding"], str) or x.dim() != weight.dim():
            return func(*args, **(kwargs or {}))
        stride, padding, dilation = (_each(given[name], axes) for name in ("stride", "padding", "dilation"))
        form = _Form(stride, padding, dilation, given["groups"])
        found: Tensor = _Convolution.apply(x, weight, form)  # type: ignore[no-untyped-call] # as above
        return found if bias is None else found + bias.reshape(-1, *[1] * axes)


def _each(value: int | Sequence[int], axes: int) -> tuple[int, ...]:
    return (value,) * axes if isinstance(value, int) else tuple(value) * (axes // len(value))
