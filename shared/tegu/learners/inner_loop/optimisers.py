"""Optimisers by name, from torch.optim and torch-optimizer."""

from __future__ import annotations

import inspect
from types import ModuleType

import torch

from tegu.core.errors import UnknownNameError, require

__all__ = ["optimiser_class"]

# These need more than a gradient (closures, second derivatives, sparse gradients), or wrap another optimiser.
_UNSUPPORTED = frozenset({"Optimizer", "LBFGS", "SparseAdam", "Lookahead", "Shampoo", "Adahessian"})


def optimiser_class(name: str) -> type[torch.optim.Optimizer]:
    """The optimiser class called `name`, ignoring case; torch.optim has priority over torch-optimizer.

    Raises:
        UnknownNameError: no optimiser has this name; the message suggests the most similar one.
    """
    found = _classes(require("torch_optimizer", "torch")) | _classes(torch.optim)
    lowered = {known.lower(): known for known in found}
    if name.lower() not in lowered:
        raise UnknownNameError("optimiser", name, found)
    return found[lowered[name.lower()]]


def _classes(module: ModuleType) -> dict[str, type[torch.optim.Optimizer]]:
    return {
        name: value
        for name, value in vars(module).items()
        if inspect.isclass(value) and issubclass(value, torch.optim.Optimizer) and name not in _UNSUPPORTED
    }
