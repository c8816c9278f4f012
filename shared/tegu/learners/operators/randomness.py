"""Dropout, which is off, and random numbers, which are refused: a model is a function of its input.

A module's copy is in evaluation mode, but `F.dropout` drops out all the same unless it is told `training=False`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch
import torch.nn.functional as F  # noqa: N812 # the name torch's own documentation uses
from torch import Tensor
from torch.overrides import TorchFunctionMode

from tegu.core.errors import CompileError
from tegu.learners.module_calls import observed

__all__ = ["RANDOMNESS", "DropoutOff"]


def _dropout(x: Tensor, p: float = 0.5, training: bool = True, inplace: bool = False) -> Tensor:
    """The input. A module that asked for dropout is recorded while modules are observed."""
    del inplace
    calls = observed()
    if calls is not None and training and p:
        calls.dropouts.append(calls.running[-1] if calls.running else "the model")
    return x


def _alpha_dropout(x: Tensor, p: float = 0.5, training: bool = False, inplace: bool = False) -> Tensor:
    """As `_dropout`; these functions are off unless they are told otherwise."""
    return _dropout(x, p, training, inplace)


_DROPOUTS: dict[Any, Callable[..., Any]] = {
    **dict.fromkeys([F.dropout, F.dropout1d, F.dropout2d, F.dropout3d, torch.dropout, torch.feature_dropout], _dropout),
    **dict.fromkeys(
        [F.alpha_dropout, F.feature_alpha_dropout, torch.alpha_dropout, torch.feature_alpha_dropout], _alpha_dropout
    ),
}


def _refusal(name: str) -> Callable[..., Any]:
    def refuse(*args: Any, **options: Any) -> Any:
        del args, options
        raise CompileError(
            f"{name} draws random numbers in forward, and a model must be a function of its input: draw them once in "
            "__init__ and register them as a buffer, or draw them only `if self.training`, which is False here"
        )

    return refuse


_FUNCTIONS = (
    *("rand", "randn", "randint", "randperm", "rand_like", "randn_like", "randint_like"),
    *("normal", "bernoulli", "multinomial", "poisson", "binomial"),
)
_METHODS = (
    *("bernoulli", "bernoulli_", "multinomial", "normal_", "uniform_", "random_", "exponential_", "geometric_"),
    *("cauchy_", "log_normal_"),
)

RANDOMNESS: Mapping[Any, Callable[..., Any]] = {
    **_DROPOUTS,
    **{getattr(torch, name): _refusal(f"torch.{name}") for name in _FUNCTIONS},
    **{getattr(Tensor, name): _refusal(f"Tensor.{name}") for name in _METHODS},
    F.gumbel_softmax: _refusal("F.gumbel_softmax"),
}


class DropoutOff(TorchFunctionMode):
    """Switches dropout off inside the `with` block, and leaves all other functions as they are."""

    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: tuple[Any, ...] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        """See `torch.overrides`."""
        return _DROPOUTS.get(func, func)(*args, **(kwargs or {}))
