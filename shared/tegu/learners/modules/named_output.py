"""Modules that return several tensors: the one that is the model's output, by name or by shape."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any, TypeAlias

import torch
from torch import Tensor, nn

from tegu.core.errors import DataError

__all__ = ["OutputName", "find_output", "named_tensors", "select_output"]

OutputName: TypeAlias = str | int
"""A key of a mapping, a field of a dataclass or named tuple, or a position in a tuple or list."""


def select_output(model: nn.Module, output: OutputName) -> nn.Module:
    """`model`, changed so that it returns the tensor `output` alone. The names of its parameters stay.

    A module that returns a single tensor already stays as it is.
    """
    if not any(isinstance(hook, _Select) for hook in model._forward_hooks.values()):
        model.register_forward_hook(_Select(output))
    return model


def find_output(result: object, shape: Sequence[int]) -> OutputName:
    """The name of the only tensor in `result` that is real and has this shape.

    Raises:
        DataError: there is none, or more than one.
    """
    tensors = named_tensors(result)
    fitting = [name for name, value in tensors.items() if value.is_floating_point() and value.shape == tuple(shape)]
    if len(fitting) != 1:
        found = ", ".join(f"{name!r} of shape {tuple(value.shape)}" for name, value in tensors.items()) or "no tensor"
        count = "none" if not fitting else f"{len(fitting)}"
        raise DataError(
            f"the model returns a {type(result).__name__} with {found}, and {count} of them has the shape "
            f"{tuple(shape)}: expected one output; name it with output=, as in output='logits', or return it alone"
        )
    return fitting[0]


def named_tensors(result: object) -> dict[OutputName, Tensor]:
    """The tensors that a module returned, by name or position."""
    return {name: value for name, value in _entries(result).items() if isinstance(value, Tensor)}


def _entries(result: object) -> dict[OutputName, Any]:
    if isinstance(result, Mapping):
        return dict(result)
    if isinstance(result, tuple) and hasattr(result, "_asdict"):
        return dict(result._asdict())
    if dataclasses.is_dataclass(result):
        return {field.name: getattr(result, field.name) for field in dataclasses.fields(result)}
    if isinstance(result, (tuple, list)):
        return dict(enumerate(result))
    return {}


class _Select:
    """A forward hook that returns one of the module's outputs."""

    def __init__(self, output: OutputName) -> None:
        self._output = output

    def __call__(self, module: nn.Module, args: object, result: object) -> Tensor:
        del module, args
        if isinstance(result, Tensor):
            return result
        entries = _entries(result)
        if isinstance(self._output, int) and self._output not in entries:
            entries |= dict(enumerate(entries.values()))
        found = entries.get(self._output)
        if not isinstance(found, Tensor):
            raise DataError(
                f"output is {self._output!r}, and the model returns a {type(result).__name__} with "
                f"{', '.join(map(repr, entries)) or 'nothing'}: expected the name of a tensor among them"
            )
        return found if found.dtype == torch.float32 or not found.is_floating_point() else found.float()
