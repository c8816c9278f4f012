"""Whether a module's own values mean something, or are those of a module that was just constructed.

A module that was trained expects the inputs that it was trained on. One that was just constructed expects nothing.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from tegu.learners.modules.initial_values import fixed_parameter_names, has_moved_statistics, initial_parameters

__all__ = ["sign_of_training"]

_MAX_DRAWS = 20
_MAX_DRAWN = 20_000_000  # entries in all draws: they take a second or two
_TOLERANCE = 1.05  # of the largest magnitude drawn
_MIN_DRAWN = 200  # draws from a uniform distribution that stay that far below its bound once in 17,000 times


def sign_of_training(model: nn.Module) -> str | None:
    """What shows that the module's values were chosen or trained, as a clause; None if nothing does.

    Signs are fixed parameters, running statistics that have moved from their start, and biases or weights of norms that
    `reset_parameters` would not give. Weights of layers are no sign where there are biases: people initialise weights
    in many ways, but biases are drawn by torch, or all equal, until they are trained.
    """
    if fixed := fixed_parameter_names(model):
        return f"{fixed[0]} is fixed"
    for name, module in model.named_modules():
        if has_moved_statistics(module):
            return f"{name or 'the model'} holds running statistics"
    return _unlike_a_draw(model)


def _unlike_a_draw(model: nn.Module) -> str | None:
    values = {name: value.detach() for name, value in model.named_parameters()}
    vectors = [name for name, value in values.items() if value.dim() == 1] or list(values)
    entries = sum(value.numel() for value in values.values())
    draws = [initial_parameters(model, seed) for seed in range(max(1, min(_MAX_DRAWS, _MAX_DRAWN // entries)))]
    for name in vectors:
        drawn = torch.stack([torch.from_numpy(draw[name]) for draw in draws])
        if not _is_constant(values[name]) and _is_unlike(values[name], drawn):
            return f"{name} holds values that a new module would not have"
    return None


def _is_unlike(value: Tensor, drawn: Tensor) -> bool:
    if torch.equal(value.expand_as(drawn), drawn):
        return False  # its module cannot draw it
    if _is_constant(drawn):
        return True
    return drawn.numel() >= _MIN_DRAWN and bool(value.abs().max() > _TOLERANCE * drawn.abs().max())


def _is_constant(values: Tensor) -> bool:
    return bool((values == values.flatten()[0]).all())
