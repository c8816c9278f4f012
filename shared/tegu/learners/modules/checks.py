"""Checks that a module can be trained on devices. They return a copy of it in evaluation mode."""

from __future__ import annotations

import copy

import torch
from torch import Tensor, nn
from torch.func import functional_call
from torch.nn.modules.batchnorm import _BatchNorm

from tegu.core.data.spec import Field, Spec
from tegu.core.errors import CompileError, DataError, TeguError
from tegu.learners.module_calls import ModuleCalls
from tegu.learners.modules.functional import call
from tegu.learners.modules.named_inputs import unpacking
from tegu.learners.modules.repeatable import check_repeatable, naming_the_module
from tegu.learners.operators.randomness import DropoutOff

__all__ = ["checked_module", "example_rows"]

_ROWS = 3
_UNBOUNDED_IDS = 8


def checked_module(model: nn.Module, spec: Spec) -> nn.Module:
    """Check that `model` fits `spec`, and return a copy of it in evaluation mode (dropout off).

    Raises:
        CompileError: the module keeps running statistics, mixes rows, has no parameters, has parameters that are not
            float32, or uses a parameter without its registered modules.
        DataError: the module does not accept the spec's inputs, or its outputs have another shape or dtype.
    """
    _check_modules(model)
    _check_parameters(model)
    copied = unpacking(copy.deepcopy(model).eval(), spec)
    _check_outputs(copied, spec)
    return copied


def _check_modules(model: nn.Module) -> None:
    for name, module in model.named_modules():
        kind = f"{name or 'the model'} is a {type(module).__name__}"
        if getattr(module, "running_mean", None) is not None:
            raise CompileError(f"{kind} with running statistics, which would mix users: use GroupNorm or LayerNorm")
        if isinstance(module, _BatchNorm):
            raise CompileError(f"{kind}, which would mix rows with padding: use GroupNorm or LayerNorm")


def _check_parameters(model: nn.Module) -> None:
    parameters = dict(model.named_parameters())
    if parameters and not any(parameter.requires_grad for parameter in parameters.values()):
        raise CompileError(
            f"every parameter of {type(model).__name__} has requires_grad=False: expected at least one to learn; add a "
            "layer, or call requires_grad_(True) on what is to be trained"
        )
    if not parameters:
        raise CompileError(
            f"{type(model).__name__} has no parameters: expected at least one to learn; add a layer with parameters"
        )
    for name, parameter in parameters.items():
        if parameter.dtype != torch.float32:
            raise CompileError(f"parameter {name!r} is {parameter.dtype}: expected float32; call model.float()")


def _check_outputs(model: nn.Module, spec: Spec) -> None:
    x = example_rows(spec.x, _ROWS)
    output = _output(model, x)
    expected = (_ROWS,) if spec.kind == "ranking" else (_ROWS, spec.outputs)
    if output.shape != expected or output.dtype != torch.float32:
        raise DataError(
            f"the model returns {output.dtype} of shape {tuple(output.shape)} for {_ROWS} rows: {spec.kind} expects "
            f"float32 of shape {expected}; change its last layer, or the spec"
        )
    check_repeatable(model, x)
    _check_parameter_access(model, x)
    fewer_rows, all_rows = _output(model, x[:-1]), output[:-1]
    if not torch.allclose(fewer_rows, all_rows, rtol=1e-3, atol=1e-4):
        raise CompileError(
            f"a row's output changes by {float((fewer_rows - all_rows).abs().max()):.1e} when another row is left out: "
            "expected a function of each row alone; normalise and average over features, not over rows"
        )


def _check_parameter_access(model: nn.Module, x: Tensor) -> None:
    """Check that the module uses its parameters through registered modules: `substituted` replaces them only there."""
    changed = {name: 1 + 2 * value.detach() for name, value in model.named_parameters()}
    output = call(model, changed, x)
    with DropoutOff():
        expected = functional_call(copy.deepcopy(model), changed, (x,))  # a copy: shared parameters may stay changed
    if not torch.allclose(output, expected, rtol=1e-3, atol=1e-4, equal_nan=True):
        raise CompileError(
            f"{type(model).__name__} reaches a parameter without its registered modules (through a closure or a "
            "plain list of layers): expected access through self; assign layers as attributes or to nn.ModuleList"
        )


def _output(model: nn.Module, x: Tensor) -> Tensor:
    parameters = {name: parameter.detach() for name, parameter in model.named_parameters()}
    calls = ModuleCalls()
    try:
        with naming_the_module() as calls:
            output: object = call(model, parameters, x)
    except TeguError:
        raise
    except Exception as error:  # a user's module may raise anything
        raise DataError(
            f"{calls.failed or 'the model'} fails on x of shape {tuple(x.shape)} and dtype {x.dtype} "
            f"({type(error).__name__}: {error}): "
            "the spec says that x has such rows; change the model or the spec"
        ) from error
    if not isinstance(output, Tensor):
        raise DataError(f"the model returns a {type(output).__name__}: expected one tensor; return the output alone")
    return output


def example_rows(field: Field, rows: int) -> Tensor:
    """Synthetic rows `[rows, *field.shape]` that fit `field`, with ids where it has some; the same on every call."""
    shape = (rows, *field.shape)
    generator = torch.Generator().manual_seed(0)
    if field.dtype == "int64":
        return torch.randint(field.size or _UNBOUNDED_IDS, shape, generator=generator)
    drawn = torch.randn(shape, generator=generator)
    for position, size in field.ids:
        drawn[:, position] = torch.randint(size, (rows,), generator=generator).float()
    return drawn
