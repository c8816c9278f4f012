"""Max pooling before ReLU in place of after it: the same values and gradients, and ReLU has a quarter of the work."""

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
    """While it lasts, the maximum of what ReLU gave is computed as ReLU of the maximum.

    The gradient is the same too: where the maximum is positive, its first place is that of the input's maximum, and
    elsewhere nothing passes through ReLU.
    """

    def __init__(self) -> None:
        super().__init__()
        self._rectified: dict[int, tuple[Tensor, Tensor]] = {}  # by its identity: what ReLU gave, and what it got

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
