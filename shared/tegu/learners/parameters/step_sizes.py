"""Learned step sizes and a learned prior, trained together with the initialisation.

Li et al., "Meta-SGD: Learning to Learn Quickly for Few-Shot Learning", 2017, arXiv:1707.09835, learns a step size for
every entry of a parameter. Antoniou et al., "How to train your MAML", 2019, arXiv:1810.09502, learns one per layer.

In trees of parameters, `name/log_lr` accompanies the parameter `name`; `/log_prior` belongs to no parameter:

    name/log_lr      float32, [] or the shape of `name`   the step size of `name` is `lr` times its exponential
    name/lr_factor   float32, the shape of `name`         the step size of `name` is `lr` times it; it may be negative
    /log_prior       float32 []                           the prior is `prior` times its exponential

Logarithms start at 0 and factors at 1, which changes nothing. The knobs `lr` and `prior` still multiply the learned
values.

The server trains these entries like all others. The factors are those of `meta_sgd`, whose update is the gradient of
the query's loss. For the logarithms, which accompany Reptile's rule, a user's update of an entry is a scaled gradient g
of its query loss after adapting on its support alone, taken through the adaptation:

    0.1 sqrt(entries) g / (query loss before adapting + query loss after + |g|)

Dividing by the losses removes the unit of y; the loss before adapting keeps the divisor above 0 if adaptation fits
the query perfectly. The term |g| bounds the update: no user changes a logarithm by more than 0.1 (for an array, its
root mean square). With Reptile's own outer optimiser, SGD with rate 1, step sizes therefore change by at most a tenth
per round. This holds even if a user's adaptation diverges, which is when gradients are largest. Outer optimisers that
scale gradients themselves, such as Adam, do not need this scaling and are not affected by it.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Literal, TypeAlias, TypeVar, cast, get_args

import numpy as np
import torch
from torch import Tensor, nn
from torch.func import grad_and_value, vmap

from tegu.core.data.tree import Tree
from tegu.core.errors import DataError, UnknownNameError
from tegu.learners.learner import SummedUpdate, TorchBatch, TorchKnobs, TorchTree, Update

__all__ = [
    "QueryLosses",
    "StepSizeGranularity",
    "add_step_size_updates",
    "add_summed_step_size_updates",
    "factor_entry",
    "factor_of",
    "initial_factors",
    "initial_step_sizes",
    "learned_knobs",
    "only_learned",
    "without_learned",
]

T = TypeVar("T")
StepSizeGranularity: TypeAlias = Literal["layers", "parameters"]
QueryLosses: TypeAlias = Callable[[TorchTree, TorchBatch, TorchBatch], tuple[Tensor, Tensor]]

_LR, _FACTOR, _PRIOR = "/log_lr", "/lr_factor", "/log_prior"
_MAX_CHANGE = 0.1
_MIN_DIVISOR = 1e-12  # avoids 0 / 0 if both losses and the gradient are 0


def initial_step_sizes(
    model: nn.Module,
    adapted: Sequence[str],
    tables: Sequence[str],
    granularity: StepSizeGranularity | None,
    prior: float,
) -> Tree:
    """The initial entries of this module: float32 zeros, with `/log_prior` only if `prior` is not 0.

    Args:
        model: the module.
        adapted: names of the parameters that adapt.
        tables: the adapted parameters that are tables stored by rows.
        granularity: "layers" for one step size per parameter tensor, "parameters" for one per entry, None for no
            learned step sizes.
        prior: the learner's prior.

    Raises:
        DataError: "parameters" was chosen, and a table adapts by rows.
        UnknownNameError: `granularity` is none of the above.
    """
    if granularity is None:
        return {}
    if granularity not in get_args(StepSizeGranularity):
        raise UnknownNameError("way to learn step sizes", granularity, get_args(StepSizeGranularity))
    shapes = {name: tuple(value.shape) for name, value in model.named_parameters() if name in adapted}
    if granularity == "parameters" and tables:
        raise DataError(
            f"learn_step_sizes='parameters', but the table {tables[0]!r} of shape {list(shapes[tables[0]])} adapts by "
            "rows, and every update would hold a step size for each of its entries: expected parameters that adapt as "
            "a whole; use learn_step_sizes='layers', or leave the table out of adapted_parameters"
        )
    sizes = {
        name + _LR: np.zeros(shape if granularity == "parameters" else (), np.float32) for name, shape in shapes.items()
    }
    return {**sizes, _PRIOR: np.zeros((), np.float32)} if prior else sizes


def initial_factors(model: nn.Module, adapted: Sequence[str]) -> Tree:
    """The entries `name/lr_factor` for the parameters `adapted`: float32 ones of their shapes."""
    shapes = {name: tuple(value.shape) for name, value in model.named_parameters() if name in adapted}
    return {factor_entry(name): np.ones(shape, np.float32) for name, shape in shapes.items()}


def factor_entry(name: str) -> str:
    """The name of the entry that holds the factor of the parameter `name`."""
    return name + _FACTOR


def factor_of(meta: TorchTree, name: str) -> Tensor | None:
    """The factor on `lr` for the parameter `name`: `[]`, or of its shape; None if no step size is learned for it."""
    if factor_entry(name) in meta:
        return meta[factor_entry(name)]
    entry = meta.get(name + _LR)
    return None if entry is None else entry.exp()


def learned_knobs(meta: TorchTree, knobs: TorchKnobs) -> TorchKnobs:
    """The knobs, with `prior` multiplied by its learned factor, if there is one."""
    if _PRIOR not in meta:
        return knobs
    return cast("TorchKnobs", {**knobs, "prior": knobs["prior"] * meta[_PRIOR].exp()})


def only_learned(tree: Mapping[str, T]) -> dict[str, T]:
    """The entries of this module: step sizes and the prior."""
    return {name: value for name, value in tree.items() if name.endswith((_LR, _FACTOR, _PRIOR))}


def without_learned(tree: Mapping[str, T]) -> dict[str, T]:
    """The tree without the entries of this module."""
    return {name: value for name, value in tree.items() if not name.endswith((_LR, _FACTOR, _PRIOR))}


def add_step_size_updates(update: Update, query_losses: QueryLosses) -> Update:
    """`update`, extended by the updates of step sizes and prior; the module docstring has the formula.

    Args:
        update: the update of the parameters.
        query_losses: (meta, support, query) -> the query's loss before and after adapting on the support, scalars.
    """

    def both(meta: TorchTree, support: TorchBatch, query: TorchBatch, noise: Tensor) -> TorchTree:
        return update(meta, support, query, noise) | _step_size_update(query_losses, meta, support, query)

    return both


def add_summed_step_size_updates(summed: SummedUpdate, query_losses: QueryLosses) -> SummedUpdate:
    """`add_step_size_updates` for the sum over users; each user's update is bounded before it is added."""

    def total(meta: TorchTree, support: TorchBatch, query: TorchBatch, noise: Tensor) -> TorchTree:
        each = vmap(lambda *rows: _step_size_update(query_losses, meta, *rows))(support, query)
        return summed.compute(meta, support, query, noise) | {name: value.sum(0) for name, value in each.items()}

    return summed._replace(compute=total)


def _step_size_update(query_losses: QueryLosses, meta: TorchTree, support: TorchBatch, query: TorchBatch) -> TorchTree:
    def after_adapting(own: TorchTree) -> tuple[Tensor, Tensor]:
        before, after = query_losses(meta | own, support, query)
        return after, before

    slopes, (after, before) = grad_and_value(after_adapting, has_aux=True)(only_learned(meta))
    return {name: _bounded(slope, before.abs() + after.abs()) for name, slope in slopes.items()}


def _bounded(slope: Tensor, losses: Tensor) -> Tensor:
    size = losses + slope.square().sum().sqrt()
    return slope * (_MAX_CHANGE * math.sqrt(slope.numel()) / torch.clamp(size, min=_MIN_DIVISOR))
