"""Values that a function computes from constants alone, known while it is recorded: a mask, its `all()`, a position."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor
from torch._C._functorch import is_functorch_wrapped_tensor
from torch._functorch.pyfunctorch import temporarily_clear_interpreter_stack
from torch._subclasses.fake_tensor import FakeTensor
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import _disable_current_modes
from torch.utils._pytree import tree_leaves, tree_map

__all__ = ["KnownValues"]

_FACTORIES = (torch.arange, torch.eye, torch.full, torch.linspace, torch.ones, torch.tensor, torch.zeros)
_READS = (
    *(Tensor.__bool__, Tensor.__int__, Tensor.__float__, Tensor.__index__, Tensor.item, Tensor.tolist),
    *(torch.equal, Tensor.equal, torch.allclose, Tensor.allclose, torch.is_nonzero, Tensor.is_nonzero),
)
_OPERATORS = "add sub mul truediv floordiv mod pow matmul and or xor lshift rshift"
_AUGMENTED = frozenset(f"__i{name}__" for name in _OPERATORS.split(" "))
_LARGEST = 2**16  # entries; larger constants are rarely asked for a value


class KnownValues(TorchFunctionMode):
    """While this mode is active, code may branch on what it computed from constants.

    The recording is the same: a constant's value is computed beside it, and used only where Python asks for it.
    """

    def __init__(self) -> None:
        super().__init__()
        # A recorded tensor and its value, by the id of the first. Keeping it keeps its id from being used again.
        self._values: dict[int, tuple[Tensor, Tensor]] = {}

    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: tuple[Any, ...] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        """See `torch.overrides`."""
        options = dict(kwargs or {})
        leaves = tree_leaves((args, options))
        tensors = [leaf for leaf in leaves if isinstance(leaf, Tensor)]
        constant = not any(isinstance(leaf, torch.SymInt) for leaf in leaves)
        constant = constant and all(self._value(tensor) is not None for tensor in tensors)
        constant = constant and (bool(tensors) or func in _FACTORIES)
        if not constant:
            if _writes(func, options):
                self._values.clear()  # any value may share memory with what is written to
            return func(*args, **options)
        if func in _READS:
            return self._computed(func, args, options)
        result = func(*args, **options)
        recorded = isinstance(result, Tensor) and not _is_real(result) and result.numel() <= _LARGEST
        if recorded or (_writes(func, options) and not _is_real(tensors[0])):
            value = self._computed(func, args, options)
            if isinstance(result, Tensor):
                self._values[id(result)] = result, value
        return result

    def _value(self, tensor: Tensor) -> Tensor | None:
        if id(tensor) in self._values:
            return self._values[id(tensor)][1]
        return tensor if _is_real(tensor) else None

    def _computed(self, func: Callable[..., Any], args: tuple[Any, ...], options: Mapping[str, Any]) -> Any:
        args, options = tree_map(lambda leaf: self._value(leaf) if isinstance(leaf, Tensor) else leaf, (args, options))
        with _disable_current_modes(), temporarily_clear_interpreter_stack():
            return func(*args, **options)


def _is_real(tensor: Tensor) -> bool:
    """Whether a tensor is neither recorded nor differentiated: a buffer, or a tensor from outside."""
    return not (isinstance(tensor, FakeTensor) or is_functorch_wrapped_tensor(tensor) or tensor.requires_grad)


def _writes(func: Callable[..., Any], options: Mapping[str, Any]) -> bool:
    name = getattr(func, "__name__", "")
    in_place = name.endswith("_") and not name.endswith("__")
    return in_place or name == "__setitem__" or "out" in options or name in _AUGMENTED
