"""Optimisers by name, from torch.optim and torch-optimizer."""

from __future__ import annotations

import inspect
from types import ModuleType

import torch

from tegu.core.errors import DataError, UnknownNameError, require

__all__ = ["optimiser_class", "optimiser_names"]

_REFUSED = {
    "LBFGS": "evaluates the loss several times in one step",
    "SparseAdam": "takes sparse gradients alone",
    "Adahessian": "takes second derivatives",
    "Lookahead": "wraps another optimiser",
}


def optimiser_names() -> list[str]:
    """The optimisers of torch.optim and torch-optimizer that take a step from a gradient alone.

    They serve as outer optimiser (`OuterRule`) and as optimiser of a `TorchRuntime`. The case of a name does not
    matter. Some take parameters of certain shapes alone (Muon), and refuse others by name when they get them.

    Raises:
        MissingExtraError: torch-optimizer is not installed.
    """
    return sorted(set(_classes()) - set(_REFUSED), key=str.lower)


def optimiser_class(name: str) -> type[torch.optim.Optimizer]:
    """The optimiser class called `name`, ignoring case; torch.optim has priority over torch-optimizer.

    Raises:
        DataError: the optimiser needs more than a gradient.
        UnknownNameError: no optimiser has this name; the message suggests the most similar one.
        MissingExtraError: torch-optimizer is not installed.
    """
    found = _classes()
    lowered = {known.lower(): known for known in found}
    chosen = lowered.get(str(name).lower())
    if chosen is None:
        raise UnknownNameError("optimiser", str(name), set(found) - set(_REFUSED))
    if chosen in _REFUSED:
        raise DataError(
            f"{chosen} {_REFUSED[chosen]}, and here a step has one gradient: choose another optimiser, such as Adam; "
            "tegu.learners.optimiser_names() lists those that work"
        )
    return found[chosen]


def _classes() -> dict[str, type[torch.optim.Optimizer]]:
    return _of(require("torch_optimizer", "torch")) | _of(torch.optim)


def _of(module: ModuleType) -> dict[str, type[torch.optim.Optimizer]]:
    base = torch.optim.Optimizer
    return {
        name: value
        for name, value in vars(module).items()
        if inspect.isclass(value) and issubclass(value, base) and value is not base
    }
