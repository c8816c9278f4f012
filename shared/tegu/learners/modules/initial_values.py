"""Where training starts, and which parameters stay as they are.

`requires_grad` says which: a parameter without it is *fixed*. It keeps the module's value in training and on devices.
"""

from __future__ import annotations

import copy
import fnmatch
from collections.abc import Sequence
from typing import Literal, TypeAlias, get_args

import torch
from torch import Tensor, nn

from tegu.core.data.tree import Tree
from tegu.core.errors import DataError, UnknownNameError

__all__ = [
    "Init",
    "adapted_parameter_names",
    "check_init",
    "fixed_parameter_names",
    "has_moved_statistics",
    "initial_parameters",
    "reset_statistics",
    "trained_parameter_names",
]

Init: TypeAlias = Literal["module", "fresh"]
"""Training starts from the module's own values, or from values drawn anew from the seed."""


def check_init(name: str) -> Init:
    """The initialisation called `name`.

    Raises:
        UnknownNameError: there is none; the message suggests the nearest.
    """
    for known in get_args(Init):
        if name == known:
            return known  # type: ignore[no-any-return] # get_args has no types
    raise UnknownNameError("initialisation", str(name), get_args(Init))


def fixed_parameter_names(model: nn.Module) -> tuple[str, ...]:
    """Names of the parameters without `requires_grad`, in the order of the module."""
    return tuple(name for name, parameter in model.named_parameters() if not parameter.requires_grad)


def trained_parameter_names(model: nn.Module) -> tuple[str, ...]:
    """Names of the parameters with `requires_grad`, in the order of the module."""
    return tuple(name for name, parameter in model.named_parameters() if parameter.requires_grad)


def adapted_parameter_names(
    model: nn.Module, patterns: Sequence[str] | None, option: str = "adapted_parameters"
) -> tuple[str, ...]:
    """Names of the parameters that adapt: those that match one of `patterns` and are not fixed, in the module's order.

    Args:
        model: the module.
        patterns: names or shell patterns (`"head.*"`); a module's name matches all its parameters. None means
            all.
        option: the argument that holds the patterns, for messages.

    Raises:
        DataError: a pattern matches no parameter, or only fixed ones.
    """
    trained, fixed = trained_parameter_names(model), fixed_parameter_names(model)
    if patterns is None:
        return trained
    chosen: set[str] = set()
    for pattern in patterns:
        matched = {n for n in (*trained, *fixed) if fnmatch.fnmatchcase(n, pattern) or n.startswith(f"{pattern}.")}
        if not matched:
            names = ", ".join(name for name, _ in model.named_parameters())
            raise DataError(f"{option}={pattern!r} matches no parameter: expected one of {names}")
        if not matched - set(fixed):
            raise DataError(
                f"{option}={pattern!r} matches {', '.join(sorted(matched))} alone, which requires_grad=False "
                f"fixes: expected parameters that can change, of {', '.join(trained)}; call requires_grad_(True) on "
                "what is to adapt, or name another parameter"
            )
        chosen |= matched
    return tuple(name for name in trained if name in chosen)


def initial_parameters(model: nn.Module, seed: int, init: Init = "fresh") -> Tree:
    """Initial parameters, float32 numpy arrays.

    Args:
        model: the module.
        seed: used by "fresh" alone.
        init: "module" takes the module's own values. "fresh" draws each module's parameters anew with its
            `reset_parameters`, children before their parents, so that a module can override the initialisation of its
            parts. Fixed parameters, and those of modules without that method, keep their values. The global random
            state does not change.
    """
    if init == "module":
        return _values(model)
    fresh = copy.deepcopy(model)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        fresh.apply(_reset)
    given = {name: value for name, value in _values(model).items() if name in fixed_parameter_names(model)}
    return {**_values(fresh), **given}


def has_moved_statistics(module: nn.Module) -> bool:
    """Whether the module keeps running statistics that are not those of its construction."""
    mean, variance = getattr(module, "running_mean", None), getattr(module, "running_var", None)
    if not isinstance(mean, Tensor) or not isinstance(variance, Tensor):
        return False
    return bool((mean != 0).any() or (variance != 1).any())


def reset_statistics(model: nn.Module) -> None:
    """Give norms their first running statistics, but for those with fixed parameters: what others count is gone."""
    for module in model.modules():
        own = list(module.parameters(recurse=False))
        if has_moved_statistics(module) and all(parameter.requires_grad for parameter in own):
            module.reset_running_stats()  # type: ignore[operator] # every norm with statistics has it


def _values(model: nn.Module) -> Tree:
    return {name: parameter.detach().numpy().copy() for name, parameter in model.named_parameters()}


def _reset(module: nn.Module) -> None:
    reset = getattr(module, "reset_parameters", None)
    if callable(reset):
        reset()
