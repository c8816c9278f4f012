"""Which parameters a function reads, and how."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from torch import Tensor
from torch.overrides import TorchFunctionMode

from tegu.learners.learner import TorchTree

__all__ = ["ParameterReads"]

_GETTERS: tuple[Any, ...] = (Tensor.shape, Tensor.dtype, Tensor.device, Tensor.ndim, Tensor.requires_grad)
_HARMLESS = (*(getter.__get__ for getter in _GETTERS), Tensor.size, Tensor.dim)


class ParameterReads(TorchFunctionMode):
    """While it lasts, notes the parameters that functions of torch are given.

    Args:
        parameters: those to watch.

    Attributes:
        names: of those that were used.
    """

    def __init__(self, parameters: TorchTree) -> None:
        super().__init__()
        self.names: set[str] = set()
        self._watched = {id(value): name for name, value in parameters.items()}

    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: tuple[Any, ...] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        """See `torch.overrides`."""
        if func not in _HARMLESS:
            self.note([args, kwargs])
        return func(*args, **(kwargs or {}))

    def note(self, value: Any) -> None:
        """Take what a function is given for used."""
        if isinstance(value, Tensor):
            self.names |= {name} if (name := self.name_of(value)) else set()
        elif isinstance(value, Mapping):
            self.note(list(value.values()))
        elif isinstance(value, (list, tuple)):
            for one in value:
                self.note(one)

    def name_of(self, value: Any) -> str | None:
        """The name of a watched parameter, None for anything else."""
        return self._watched.get(id(value))
