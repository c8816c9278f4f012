"""Max pooling before ReLU instead of after it. Values and gradients are the same, and ReLU has fewer entries."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch
import torch.nn.functional as F  # noqa: N812 # the name torch's own documentation uses
from torch import Tensor
from torch.overrides import TorchFunctionMode

__all__ = ["PoolBeforeReLU"]

_RELU = (F.relu, torch.relu, Tensor.relu)
_MAX_POOL = (F.max_pool1d, F.max_pool2d, torch.max_pool1d, torch.max_pool2d)


class PoolBeforeReLU(TorchFunctionMode):
    """While this mode is active, max pooling of a ReLU's output is computed as ReLU of the max-pooled input.

    The gradient is the same. If the maximum is positive, it is at the same place before and after ReLU. Otherwise
    ReLU's gradient is zero.
    """

    def __init__(self) -> None:
        super().__init__()
        # ReLU's output and input, by the id of the output. Keeping the output keeps its id from being used again.
        self._rectified: dict[int, tuple[Tensor, Tensor]] = {}

    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: tuple[Any, ...] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        """See `torch.overrides`."""
        options = kwargs or {}
        if func in _MAX_POOL and args and id(args[0]) in self._rectified:
            before = self._rectified[id(args[0])][1]
            return torch.relu(func(before, *args[1:], **options))
        result = func(*args, **options)
        if func in _RELU and args:
            self._rectified[id(result)] = result, args[0]
        return result
