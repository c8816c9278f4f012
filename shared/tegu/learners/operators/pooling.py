"""Poolings that torch.onnx or ONNX Runtime lack. The last axis is pooled first, so ties go to the first in order."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Sequence
from typing import Any, TypeAlias

import torch
import torch.nn.functional as F  # noqa: N812 # the name torch's own documentation uses
from torch import Tensor

from tegu.core.errors import CompileError
from tegu.learners.operators.axes import Windows, adaptive_windows, averaged, maxima, sliding_windows, summed

__all__ = ["POOLING"]

_Sizes: TypeAlias = int | Sequence[int | None]
_Pool: TypeAlias = Callable[[Tensor, int, Windows], Tensor]


def _each(sizes: Any, axes: int) -> list[Any]:
    """One value for each axis."""
    return list(sizes) if isinstance(sizes, (tuple, list)) else [sizes] * axes


def _windows(x: Tensor, axes: int, ceil_mode: bool, *options: Any) -> list[Windows]:
    """The sliding windows along the last `axes` axes; `options` are kernel size, stride, padding and dilation."""
    per_axis = zip(x.shape[-axes:], *(_each(option, axes) for option in options), strict=True)
    return [sliding_windows(ceil_mode, *each) for each in per_axis]


def _over_axes(x: Tensor, windows: Sequence[Windows], pool: _Pool) -> Tensor:
    for axis, of_axis in reversed(list(enumerate(windows, x.dim() - len(windows)))):
        x = pool(x, axis, of_axis)
    return x


def _counts(windows: Sequence[Windows], ends: Sequence[int], dtype: torch.dtype) -> Tensor:
    """For each combination of the axes' windows, how many positions lie before the axes' ends."""
    of_axes = [
        torch.tensor([sum(position < end for position in window) for window in of_axis], dtype=dtype)
        for of_axis, end in zip(windows, ends, strict=True)
    ]
    return functools.reduce(lambda others, own: others.unsqueeze(-1) * own, of_axes)


def _adaptive(axes: int, pool: _Pool, native: Callable[..., Tensor] | None = None) -> Callable[..., Tensor]:
    """Adaptive pooling; `native` is torch's function, for windows of equal sizes."""

    def adaptive(x: Tensor, output_size: _Sizes, return_indices: bool = False) -> Tensor:
        del return_indices  # a function of its own gives them
        sizes = x.shape[-axes:]
        wanted = [size if out is None else out for size, out in zip(sizes, _each(output_size, axes), strict=True)]
        if native is not None and all(size % out == 0 for size, out in zip(sizes, wanted, strict=True)):
            return native(x, output_size)
        return _over_axes(x, [adaptive_windows(size, out) for size, out in zip(sizes, wanted, strict=True)], pool)

    return adaptive


def _max_pool3d(
    x: Tensor,
    kernel_size: _Sizes,
    stride: _Sizes | None = None,
    padding: _Sizes = 0,
    dilation: _Sizes = 1,
    ceil_mode: bool = False,
    return_indices: bool = False,
) -> Tensor:
    del return_indices  # a function of its own gives them
    return _over_axes(x, _windows(x, 3, ceil_mode, kernel_size, stride or kernel_size, padding, dilation), maxima)


def _avg_pool(axes: int, native: Callable[..., Tensor] | None = None) -> Callable[..., Tensor]:
    """Average pooling; `native` is torch's function, for windows that do not extend beyond the padding."""

    def pool(
        x: Tensor,
        kernel_size: _Sizes,
        stride: _Sizes | None = None,
        padding: _Sizes = 0,
        ceil_mode: bool = False,
        count_include_pad: bool = True,
        divisor_override: int | None = None,
    ) -> Tensor:
        stride = stride or kernel_size
        if native is not None and not ceil_mode:
            override = [divisor_override] if axes > 1 else []
            return native(x, kernel_size, stride, padding, ceil_mode, count_include_pad, *override)
        windows = _windows(x, axes, ceil_mode, kernel_size, stride, padding)
        if divisor_override:
            return _over_axes(x, windows, summed) / divisor_override
        if not count_include_pad:
            return _over_axes(x, windows, averaged)
        ends = [size + width for size, width in zip(x.shape[-axes:], _each(padding, axes), strict=True)]
        return _over_axes(x, windows, summed) / _counts(windows, ends, x.dtype)

    return pool


def _lp_pool(axes: int) -> Callable[..., Tensor]:
    def pool(
        x: Tensor, norm_type: float, kernel_size: _Sizes, stride: _Sizes | None = None, ceil_mode: bool = False
    ) -> Tensor:
        windows = _windows(x, axes, ceil_mode, kernel_size, stride or kernel_size)
        sums = _over_axes(x.pow(norm_type), windows, summed)
        if ceil_mode:  # torch takes the mean over what a window covers, times the size of the whole kernel
            whole = math.prod(_each(kernel_size, axes))
            sums = sums * (whole / _counts(windows, x.shape[-axes:], x.dtype))
        return (torch.sign(sums) * F.relu(sums.abs())).pow(1 / norm_type)

    return pool


def _interpolate(
    x: Tensor, size: Any = None, scale_factor: Any = None, mode: str = "nearest", **options: Any
) -> Tensor:
    if mode != "area":
        return F.interpolate(x, size, scale_factor, mode, **options)
    axes = x.dim() - 2
    scaled = [int(s * factor) for s, factor in zip(x.shape[2:], _each(scale_factor or 1, axes), strict=True)]
    native = (F.adaptive_avg_pool1d, F.adaptive_avg_pool2d, F.adaptive_avg_pool3d)[axes - 1]
    pooled: Tensor = POOLING[native](x, scaled if size is None else size)
    return pooled


def _refused(message: str) -> Callable[..., Tensor]:
    def refuse(*args: Any, **options: Any) -> Tensor:
        del args, options
        raise CompileError(message)

    return refuse


_RANDOM = "FractionalMaxPool pools over random windows, which has no compiled form: use max or average pooling"
_INDICES = "this max pooling with return_indices has no compiled form: leave it out, or use MaxPool1d or MaxPool2d"


POOLING: dict[Any, Callable[..., Any]] = {
    F.adaptive_avg_pool1d: _adaptive(1, averaged, F.adaptive_avg_pool1d),
    F.adaptive_avg_pool2d: _adaptive(2, averaged, F.adaptive_avg_pool2d),
    F.adaptive_avg_pool3d: _adaptive(3, averaged),
    F.adaptive_max_pool1d: _adaptive(1, maxima),
    F.adaptive_max_pool2d: _adaptive(2, maxima),
    F.adaptive_max_pool3d: _adaptive(3, maxima),
    F.avg_pool1d: _avg_pool(1, F.avg_pool1d),
    F.avg_pool2d: _avg_pool(2, F.avg_pool2d),
    F.avg_pool3d: _avg_pool(3),
    F.max_pool3d: _max_pool3d,
    F.lp_pool1d: _lp_pool(1),
    F.lp_pool2d: _lp_pool(2),
    F.lp_pool3d: _lp_pool(3),
    F.interpolate: _interpolate,
    **dict.fromkeys([F.fractional_max_pool2d, F.fractional_max_pool3d], _refused(_RANDOM)),
    **dict.fromkeys(
        [
            F.adaptive_max_pool1d_with_indices,
            F.adaptive_max_pool2d_with_indices,
            F.adaptive_max_pool3d_with_indices,
            F.max_pool3d_with_indices,
        ],
        _refused(_INDICES),
    ),
}
