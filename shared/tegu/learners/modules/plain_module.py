"""Modules as people hand them in, made plain: compiled, wrapped, in other dtypes or on other devices."""

from __future__ import annotations

import copy
from collections.abc import Iterator

import torch
from torch import Tensor, nn
from torch.nn.parameter import UninitializedBuffer, UninitializedParameter

from tegu.core.errors import CompileError
from tegu.core.notes import note
from tegu.learners.modules.named_output import OutputName, select_output

__all__ = ["plain_module"]

_WRAPPERS = (nn.DataParallel, nn.parallel.DistributedDataParallel)


def plain_module(model: nn.Module, output: OutputName | None = None) -> nn.Module:
    """A copy of `model` in evaluation mode, unwrapped, in float32 and on the CPU. A note says what was changed.

    Args:
        model: the module. It is not changed.
        output: name or position of the output to take, if the module returns several; see `named_output`.

    Raises:
        CompileError: the module is scripted, traced or exported, its parameters have no values or no real numbers, or
            it is no module.
    """
    if not isinstance(model, nn.Module):
        kind = type(model).__name__
        fix = "pass the nn.Module that it was exported from" if "Export" in kind else "pass an nn.Module"
        raise CompileError(f"the model is a {kind}: expected an nn.Module; {fix}")
    model = _unwrapped(model)
    _check_source(model)
    if any(module._compiled_call_impl is not None or _is_compiled(module) for module in model.modules()):
        note("parts of the module that torch.compile has compiled are used without it")
    copied = _without_compiled_parts(copy.deepcopy(model, _leaves(model))).eval()
    _convert(copied)
    return copied if output is None else select_output(copied, output)


def _check_source(model: nn.Module) -> None:
    """Check that the module can be copied and its operators replaced."""
    for name, module in model.named_modules():
        kind = f"{name or 'the model'} is a {type(module).__name__}"
        if isinstance(module, torch.jit.ScriptModule):
            raise CompileError(
                f"{kind}, which torch.jit has scripted or traced: expected the module before torch.jit; pass that one"
            )
        if any(base.__module__.startswith("torch.export") for base in type(module).__mro__):
            raise CompileError(
                f"{kind} of torch.export, made for one batch size: expected the module before it was exported; pass "
                "that one"
            )
        for own, value in [*module.named_parameters(recurse=False), *module.named_buffers(recurse=False)]:
            where = f"{name}.{own}".removeprefix(".")
            if isinstance(value, (UninitializedParameter, UninitializedBuffer)):
                raise CompileError(
                    f"{kind} whose {own} has no shape yet: expected a module that has run once; call "
                    "model(torch.zeros(1, ...)) with a row first"
                )
            if value.is_meta:
                raise CompileError(
                    f"{where!r} is on the device meta and has no values: expected values; load the module's weights "
                    "first"
                )
    for name, parameter in model.named_parameters():
        if not parameter.is_floating_point():
            raise CompileError(
                f"parameter {name!r} is {parameter.dtype}: expected real numbers; make it a buffer with register_buffer"
            )


def _is_compiled(module: nn.Module | None) -> bool:
    return isinstance(getattr(module, "_orig_mod", None), nn.Module)


def _unwrapped(model: nn.Module) -> nn.Module:
    """The module inside of torch.compile and of wrappers for several devices."""
    inner = model
    while _is_compiled(inner) or isinstance(inner, _WRAPPERS):
        note(f"the module inside of {type(inner).__name__} is used")
        inner = _inside(inner)
    return inner


def _inside(wrapper: nn.Module | None) -> nn.Module:
    inner: nn.Module = getattr(wrapper, "_orig_mod" if _is_compiled(wrapper) else "module")
    return inner


def _without_compiled_parts(model: nn.Module) -> nn.Module:
    """The module, whose parts are no longer compiled by torch.compile."""
    for module in list(model.modules()):
        module._compiled_call_impl = None
        for name in module._modules:
            while _is_compiled(child := module._modules[name]):
                module._modules[name] = _inside(child)
    return model


def _leaves(model: nn.Module) -> dict[int, Tensor]:
    """Detached copies of tensors that torch refuses to copy: attributes computed from parameters, as by weight_norm."""
    return {
        id(value): value.detach().clone()
        for module in model.modules()
        for value in vars(module).values()
        if isinstance(value, Tensor) and value.grad_fn is not None
    }


def _convert(model: nn.Module) -> None:
    """Convert parameters and real buffers to float32 on the CPU, in place."""
    tensors = list(_tensors(model))
    devices = {str(value.device) for value in tensors} - {"cpu"}
    if devices:
        note(f"the module is on {' and '.join(sorted(devices))}; its copy is on the CPU")
        model.cpu()
    dtypes = {str(value.dtype).removeprefix("torch.") for value in tensors if value.is_floating_point()} - {"float32"}
    if dtypes:
        note(f"the module's {' and '.join(sorted(dtypes))} numbers are converted to float32")
        model.float()


def _tensors(model: nn.Module) -> Iterator[Tensor]:
    yield from model.parameters()
    yield from model.buffers()
