"""Trained parameters back in torch: as a state dict with the user's own names, or as a module."""

from __future__ import annotations

import copy

import torch
from torch import Tensor, nn

from tegu.core.data.tree import Tree
from tegu.learners.modules.standardised import Standardised

__all__ = ["own_state", "trained_module"]


def own_state(module: nn.Module, meta: Tree) -> dict[str, Tensor]:
    """The state dict of the module inside of `Standardised`, with the parameters of `meta`.

    Args:
        module: as in `Source`.
        meta: its trained parameters. Entries of other names, such as learned step sizes, are left out.

    Returns:
        Copies under the names of `module.state_dict()`: shared parameters under each of their names, and buffers.
    """
    inner, prefix = module, ""
    while isinstance(inner, Standardised):
        inner, prefix = inner.model, f"{prefix}model."
    names = {id(parameter): name for name, parameter in inner.named_parameters()}
    found: dict[str, Tensor] = {}
    for name, value in inner.state_dict(keep_vars=True).items():
        own = names.get(id(value))
        if own is not None:
            found[name] = torch.tensor(meta[prefix + own])
        else:
            found[name] = value.detach().clone() if isinstance(value, Tensor) else value
    return found


def trained_module(module: nn.Module, meta: Tree) -> nn.Module:
    """A copy of the module in evaluation mode, with the parameters of `meta`."""
    copied = copy.deepcopy(module).eval()
    with torch.no_grad():
        for name, parameter in copied.named_parameters():
            parameter.copy_(torch.tensor(meta[name]))
    return copied
