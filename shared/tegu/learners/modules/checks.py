"""Checks that a module can be trained on devices. They return a copy of it in evaluation mode."""

from __future__ import annotations

import copy
import inspect
from typing import Any

import torch
from torch import Tensor, nn
from torch.func import functional_call, vjp
from torch.nn.modules.batchnorm import _BatchNorm

from tegu.core.data.spec import Field, Spec
from tegu.core.errors import CompileError, DataError, TeguError
from tegu.core.notes import note
from tegu.learners.default_dtype import float32_by_default
from tegu.learners.module_calls import ModuleCalls
from tegu.learners.modules.functional import call
from tegu.learners.modules.named_inputs import unpacking
from tegu.learners.modules.named_output import OutputName, find_output, select_output
from tegu.learners.modules.output_shape import fit_output_shape
from tegu.learners.modules.plain_module import plain_module
from tegu.learners.modules.repeatable import check_repeatable, naming_the_module
from tegu.learners.operators.randomness import DropoutOff

__all__ = ["checked_module", "example_rows"]

_ROWS = 3
_UNBOUNDED_IDS = 8
_OLD_FUNCTION = (
    "write its torch.autograd.Function with forward(*inputs) without ctx, a static method "
    "setup_context(ctx, inputs, output) that saves tensors, and generate_vmap_rule = True, as torch's guide to "
    "functions under torch.func shows"
)
_OTHER = "write it with operators that torch.func.grad accepts"


@float32_by_default()
def checked_module(model: nn.Module, spec: Spec, output: OutputName | None = None) -> nn.Module:
    """Check that `model` fits `spec`, and return a plain copy of it in evaluation mode (dropout off).

    Running statistics of norms are constants of the copy: neither training nor a device changes them. A checked module
    may be checked again.

    Args:
        model: the module.
        spec: its inputs and outputs.
        output: name or position of the output, for a module that returns several. None takes the only one that fits.

    Raises:
        CompileError: the module is scripted or exported, normalises over rows, has no parameters to train, uses a
            parameter without its registered modules, or cannot be differentiated by `torch.func`.
        DataError: the module does not accept the spec's inputs, or its outputs have another shape or dtype.
    """
    copied = plain_module(model, output)
    _check_modules(copied)
    _check_parameters(copied)
    copied = unpacking(copied, spec)
    _select(copied, spec)
    fit_output_shape(copied, spec, _output(copied, example_rows(spec.x, _ROWS)))
    _check_outputs(copied, spec)
    return copied


def _check_modules(model: nn.Module) -> None:
    for name, module in model.named_modules():
        if isinstance(module, _BatchNorm) and module.running_mean is None:
            raise CompileError(
                f"{name or 'the model'} is a {type(module).__name__} without running statistics, which would mix rows "
                "with padding: use track_running_stats=True, GroupNorm or LayerNorm"
            )


def _check_parameters(model: nn.Module) -> None:
    parameters, kind = dict(model.named_parameters()), type(model).__name__
    if not parameters:
        listed = _plain_containers(model)
        fix = f"assign {listed[0]} to an nn.ModuleList or nn.ModuleDict" if listed else "add a layer with parameters"
        raise CompileError(f"{kind} has no parameters: expected at least one to learn; {fix}")
    if not any(parameter.requires_grad for parameter in parameters.values()):
        raise CompileError(
            f"every parameter of {kind} has requires_grad=False: expected at least one to learn; add a "
            "layer, or call requires_grad_(True) on what is to be trained"
        )


def _plain_containers(model: nn.Module) -> list[str]:
    """The attributes that hold modules or parameters in a plain list, tuple or dict, as `self.<name>`."""
    return [
        ".".join(part for part in ("self", owner, name) if part)
        for owner, module in model.named_modules()
        for name, value in vars(module).items()
        if not name.startswith("_") and _holds_modules(value)
    ]


def _holds_modules(value: object) -> bool:
    if isinstance(value, dict):
        value = list(value.values())
    return isinstance(value, (list, tuple)) and any(
        isinstance(each, (nn.Module, nn.Parameter)) or _holds_modules(each) for each in value
    )


def _expected_shape(spec: Spec) -> tuple[int, ...]:
    return (_ROWS,) if spec.kind == "ranking" else (_ROWS, spec.outputs)


def _select(model: nn.Module, spec: Spec) -> None:
    """Make a module that returns several tensors return the one that fits."""
    result = _result(model, example_rows(spec.x, _ROWS))
    if isinstance(result, Tensor):
        return
    name = find_output(result, _expected_shape(spec))
    note(f"of the model's outputs, {name!r} is used")
    select_output(model, name)


def _check_outputs(model: nn.Module, spec: Spec) -> None:
    x = example_rows(spec.x, _ROWS)
    output = _output(model, x)
    expected = _expected_shape(spec)
    if output.shape != expected or output.dtype != torch.float32:
        raise DataError(
            f"the model returns {output.dtype} of shape {tuple(output.shape)} for {_ROWS} rows: {spec.kind} expects "
            f"float32 of shape {expected}; change its last layer, or the spec"
        )
    check_repeatable(model, x)
    if not torch.isfinite(_output(model, torch.zeros_like(x))).all():
        raise CompileError(
            "the model gives NaN or infinity for a row of zeros: expected finite numbers, because batches are padded "
            "with such rows; add a small number to what it divides by or takes the logarithm of"
        )
    _check_parameter_access(model, x)
    _check_differentiable(model, x)
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
        listed = _plain_containers(model)
        how = f"through the plain container {listed[0]}" if listed else "through a closure or a plain list of layers"
        raise CompileError(
            f"{type(model).__name__} reaches a parameter without its registered modules ({how}): "
            "expected access through self; assign layers as attributes or to nn.ModuleList"
        )


def _check_differentiable(model: nn.Module, x: Tensor) -> None:
    """Take the gradient of the outputs for the rows `x` once, by `torch.func`, as learners do."""
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


def _output(model: nn.Module, x: Tensor) -> Tensor:
    output = _result(model, x)
    if not isinstance(output, Tensor):
        raise DataError(f"the model returns a {type(output).__name__}: expected one tensor; return the output alone")
    return output


def _result(model: nn.Module, x: Tensor) -> object:
    parameters = {name: parameter.detach() for name, parameter in model.named_parameters()}
    calls = ModuleCalls()
    try:
        with naming_the_module() as calls:
            result: object = call(model, parameters, x)
    except TeguError:
        raise
    except Exception as error:  # a user's module may raise anything
        raise DataError(
            f"{calls.failed or 'the model'} fails on x of shape {tuple(x.shape)} and dtype {x.dtype} "
            f"({type(error).__name__}: {error}): {_fix(model)}"
        ) from error
    return result


def _fix(model: nn.Module) -> str:
    """What to do about a module that fails."""
    needed = [
        name
        for name, parameter in inspect.signature(model.forward).parameters.items()
        if parameter.default is parameter.empty
        and parameter.kind not in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD)
    ]
    if len(needed) != 1:
        return (
            f"its forward needs {', '.join(needed) or 'no input'}, and the spec has one input; give the spec a mapping "
            "with these names, or write a module whose forward takes one tensor"
        )
    return "the spec says that x has such rows; change the model or the spec"


@float32_by_default()
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
