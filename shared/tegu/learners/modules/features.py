"""A model's output together with its features, the input of its last linear layer."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import torch.nn.functional as F  # noqa: N812 # the name torch's own documentation uses
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from tegu.learners.learner import TorchTree
from tegu.learners.modules.functional import call

__all__ = ["Outputs", "forward_with_features"]


class Outputs(NamedTuple):
    """A model's output and features for some rows.

    Attributes:
        output: the model's output, `[rows, outputs]`.
        features: the input of the last linear layer with one input vector per row, `[rows, width]`. If there is no such
            layer, features are the output.
    """

    output: Tensor
    features: Tensor


def forward_with_features(model: nn.Module, parameters: TorchTree, x: Tensor) -> Outputs:
    """The model's output for `x`, and its features.

    Args:
        model: the module.
        parameters: all parameters of the module.
        x: `[rows, ...]`.
    """
    recorder = _LastLinearInput()
    with recorder:
        output = call(model, parameters, x)
    return Outputs(output, output if recorder.input is None else recorder.input)


class _LastLinearInput(TorchFunctionMode):
    """Records the input of the last linear layer that is called inside the `with` block."""

    def __init__(self) -> None:
        super().__init__()
        self.input: Tensor | None = None

    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: tuple[Any, ...] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        """See `torch.overrides`."""
        if func is F.linear and args[0].dim() == 2:
            self.input = args[0]
        return func(*args, **(kwargs or {}))
