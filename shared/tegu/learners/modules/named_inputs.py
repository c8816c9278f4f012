"""Modules with several inputs: they get named tensors although a batch holds one packed row for each."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from typing import Any, Literal, TypeAlias

import torch
from torch import Tensor, nn

from tegu.core.data.field import Field
from tegu.core.data.named_inputs import Inputs, slices
from tegu.core.data.spec import Spec
from tegu.core.errors import DataError
from tegu.learners.modules.standardised import Standardised

__all__ = ["unpacking"]

_Style: TypeAlias = Literal["keywords", "positions", "mapping"]


def unpacking(model: nn.Module, spec: Spec) -> nn.Module:
    """`model`, changed so that a packed row reaches it as `spec.inputs`.

    It stays as it is for a spec with one input, and if it unpacks rows already.

    The names of its parameters stay. Its forward gets the inputs by keyword if it has parameters of these names;
    otherwise as one mapping if there are several inputs and it has one parameter; otherwise by position, in the
    spec's order. Numbers are float32, ids int64 and booleans bool, each `[rows, *shape]`.

    Args:
        model: the module. Rows reach the module inside of `Standardised`.
        spec: its inputs.

    Raises:
        DataError: its forward does not take these inputs.
    """
    if spec.inputs:
        inner = model
        while isinstance(inner, Standardised):
            inner = inner.model
        if not any(isinstance(hook, _Unpack) for hook in inner._forward_pre_hooks.values()):  # checked before
            inner.register_forward_pre_hook(_Unpack(spec.inputs, _style(inner, spec.inputs)), with_kwargs=True)
    return model


class _Unpack:
    """A forward hook that replaces the packed rows by named tensors."""

    def __init__(self, inputs: Inputs, style: _Style) -> None:
        self._inputs, self._style = inputs, style

    def __call__(
        self, module: nn.Module, args: tuple[Any, ...], kwargs: Mapping[str, Any]
    ) -> tuple[tuple[Any, ...], dict[str, Any]]:
        del module, kwargs
        where = slices(self._inputs)
        tensors = {name: _unpacked(args[0][:, where[name]], field) for name, field in self._inputs}
        if self._style == "keywords":
            return (), tensors
        return ((tensors,) if self._style == "mapping" else tuple(tensors.values())), {}


def _unpacked(flat: Tensor, field: Field) -> Tensor:
    shaped = flat.reshape(flat.shape[0], *field.shape)
    if field.dtype == "bool":
        return shaped > 0
    return shaped.to(torch.int64) if field.dtype == "int64" else shaped


def _style(model: nn.Module, inputs: Inputs) -> _Style:
    names = [name for name, _ in inputs]
    parameters = inspect.signature(model.forward).parameters
    kinds = [parameter.kind for parameter in parameters.values()]
    if set(names) <= set(parameters) or inspect.Parameter.VAR_KEYWORD in kinds:
        return "keywords"
    positional = [kind for kind in kinds if kind is not inspect.Parameter.KEYWORD_ONLY]
    if len(names) > 1 and len(parameters) == 1 and inspect.Parameter.VAR_POSITIONAL not in kinds:
        return "mapping"
    if len(positional) < len(names) and inspect.Parameter.VAR_POSITIONAL not in kinds:
        raise DataError(
            f"{type(model).__name__}.forward has the parameters {', '.join(parameters)} and the spec has the inputs "
            f"{', '.join(names)}: expected a parameter for each, or one for a mapping of all"
        )
    return "positions"
