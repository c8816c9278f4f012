"""A check that `torch.func` can differentiate a module, as learners do."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.func import vjp

from tegu.core.errors import CompileError, TeguError
from tegu.learners.module_calls import ModuleCalls
from tegu.learners.modules.functional import call
from tegu.learners.modules.repeatable import naming_the_module

__all__ = ["check_differentiable"]

_OLD_FUNCTION = (
    "write its torch.autograd.Function with forward(*inputs) without ctx, a static method "
    "setup_context(ctx, inputs, output) that saves tensors, and generate_vmap_rule = True, as torch's guide to "
    "functions under torch.func shows"
)
_OTHER = "write it with operators that torch.func.grad accepts"


def check_differentiable(model: nn.Module, x: Tensor) -> None:
    """Take the gradient of the outputs for the rows `x` once.

    Raises:
        CompileError: torch refuses. The message names the module and the fix.
    """
    parameters = {name: parameter.detach() for name, parameter in model.named_parameters()}
    variables = {name: value for name, value in parameters.items() if value.is_floating_point()}
    calls = ModuleCalls()
    try:
        with naming_the_module() as calls:
            pair: Any = vjp(lambda own: call(model, parameters | own, x), variables)
            output, gradient_of = pair
            gradient_of(torch.ones_like(output))
    except TeguError:
        raise
    except Exception as error:  # a user's module, and torch, may raise anything
        first = next(iter(str(error).splitlines()), "")
        fix = _OLD_FUNCTION if "setup_context" in str(error) else _OTHER
        raise CompileError(
            f"{calls.failed or 'the model'} cannot be differentiated ({type(error).__name__}: {first}): {fix}"
        ) from error
