"""Recording which parameters a function uses."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from torch import Tensor
from torch.overrides import TorchFunctionMode

from tegu.learners.learner import TorchTree

__all__ = ["ParameterReads"]

_GETTERS: tuple[Any, ...] = (Tensor.shape, Tensor.dtype, Tensor.device, Tensor.ndim, Tensor.requires_grad)
_METADATA_READS = (*(getter.__get__ for getter in _GETTERS), Tensor.size, Tensor.dim)


class ParameterReads(TorchFunctionMode):
    """Records the parameters that are passed to torch functions inside the `with` block.

    Args:
        parameters: the parameters to watch.

    Attributes:
        names: names of the parameters that were used.
    """

    def __init__(self, parameters: TorchTree) -> None:
        super().__init__()
        self.names: set[str] = set()
        self._watched = {id(value): name for name, value in parameters.items()}

    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: tuple[Any, ...] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        """See `torch.overrides`."""
        if func not in _METADATA_READS:
            self.record([args, kwargs])
        return func(*args, **(kwargs or {}))

    def record(self, value: Any) -> None:
        """Record the watched parameters in `value`, an argument of a function, as used."""
        if isinstance(value, Tensor):
            self.names |= {name} if (name := self.name_of(value)) else set()
        elif isinstance(value, Mapping):
            self.record(list(value.values()))
        elif isinstance(value, (list, tuple)):
            for one in value:
                self.record(one)

    def name_of(self, value: Any) -> str | None:
        """The name of a watched parameter; None for any other value."""
        return self._watched.get(id(value))
