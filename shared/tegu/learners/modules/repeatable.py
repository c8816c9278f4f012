"""Checks that a module is a function of its input, and errors that name the part of a model that raised them."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_leaves

from tegu.core.errors import CompileError
from tegu.core.notes import note
from tegu.learners.module_calls import ModuleCall, ModuleCalls, described, observe_modules
from tegu.learners.modules.functional import call

__all__ = ["check_repeatable", "naming_the_module"]


@contextlib.contextmanager
def naming_the_module() -> Iterator[ModuleCalls]:
    """Record modules inside the block, and put the module that failed before the message of a CompileError."""
    with observe_modules() as calls:
        try:
            yield calls
        except CompileError as error:
            if calls.failed is None:
                raise
            raise CompileError(f"{calls.failed}: {error}") from error


def check_repeatable(model: nn.Module, x: Tensor) -> None:
    """Check that two calls with the same rows agree, and say where dropout was called that evaluation switches off.

    Raises:
        CompileError: they differ. The message names the first module that gives another output for the same input.
    """
    first, second = (_observed(model, x) for _ in range(2))
    if first.dropouts:
        note(
            f"{', '.join(dict.fromkeys(first.dropouts))} calls F.dropout without training=self.training: dropout is "
            "off, as in model.eval()"
        )
    pairs = list(zip(first.finished, second.finished, strict=False))
    changed = next((one for one, other in pairs if _changed(one, other)), None)
    if changed is not None:
        raise CompileError(
            f"{described(changed.name, changed.module)} gives another output when it is called again with the same "
            "input: a model must be a function of its input; draw random numbers once in __init__, and keep no state "
            "between calls"
        )


def _observed(model: nn.Module, x: Tensor) -> ModuleCalls:
    parameters = {name: parameter.detach() for name, parameter in model.named_parameters()}
    with naming_the_module() as calls:
        call(model, parameters, x)
    return calls


def _changed(one: ModuleCall, other: ModuleCall) -> bool:
    return _same((one.inputs, one.options), (other.inputs, other.options)) and not _same(one.output, other.output)


def _same(one: Any, other: Any) -> bool:
    """Whether the tensors of both are equal, up to rounding."""
    pairs = list(zip(tree_leaves(one), tree_leaves(other), strict=False))
    return all(
        a.shape == b.shape and torch.allclose(a.double(), b.double(), rtol=1e-3, atol=1e-4, equal_nan=True)
        for a, b in pairs
        if isinstance(a, Tensor) and isinstance(b, Tensor)
    )
