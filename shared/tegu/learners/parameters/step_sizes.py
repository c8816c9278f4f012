"""Step sizes, and the pull toward the initialisation, that are learned with it.

Li et al., "Meta-SGD: Learning to Learn Quickly for Few-Shot Learning", 2017, arXiv:1707.09835: a step size for every
entry of a parameter. Antoniou et al., "How to train your MAML", 2019, arXiv:1810.09502: one for every layer.

In trees of parameters these entries stand beside the parameter `name`, or for `/log_prior` beside none:

    name/log_lr   float32, [] or the shape of `name`   the step size of `name` is `lr` times exp of it
    /log_prior    float32 []                           `prior` counts times exp of it

All begin at 0, as if nothing were learned. What an application or a schedule says of `lr` and `prior` still multiplies.

The server learns them like everything else. A user's update of an entry is the gradient g of its query loss after
adapting on its support alone, through the adaptation, and scaled:

    0.1 sqrt(entries) g / (query loss before adapting + query loss after + |g|)

The losses take out the unit of y, and stay well above 0 where adapting fits the query perfectly. |g| bounds the whole:
no user moves a logarithm by more than a tenth (of an array, the root of their mean square), so that Reptile's own outer
optimiser, SGD with rate 1, changes step sizes by a tenth a round at most, even where a user's adaptation blows up, and
that is when a gradient is largest. Optimisers that scale gradients themselves, as Adam does, need none of this and are
not disturbed by it.
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
    "Judged",
    "Learned",
    "factor_of",
    "learned_entries",
    "learned_knobs",
    "learning",
    "learning_summed",
    "only_learned",
    "without_learned",
]

T = TypeVar("T")
Learned: TypeAlias = Literal["layers", "parameters"]
Judged: TypeAlias = Callable[[TorchTree, TorchBatch, TorchBatch], tuple[Tensor, Tensor]]

_LR, _PRIOR = "/log_lr", "/log_prior"
_REACH = 0.1
_NOTHING = 1e-12  # instead of dividing by 0, where there is no loss and no gradient either


def learned_entries(
    model: nn.Module, fast: Sequence[str], tables: Sequence[str], learned: Learned | None, prior: float
) -> Tree:
    """What is learned beside the parameters as it begins: zeros, float32; `/log_prior` where `prior` is not 0.

    Args:
        model: the module.
        fast: names of the parameters that adapt.
        tables: those of them that adapt by rows.
        learned: "layers" for one step size a parameter tensor, "parameters" for one an entry, None for none.
        prior: the learner's own.

    Raises:
        DataError: a step size for every entry of a table that adapts by rows.
        UnknownNameError: `learned` is none of the above.
    """
    if learned is None:
        return {}
    if learned not in get_args(Learned):
        raise UnknownNameError("way to learn step sizes", learned, get_args(Learned))
    shapes = {name: tuple(value.shape) for name, value in model.named_parameters() if name in fast}
    if learned == "parameters" and tables:
        raise DataError(
            f"learned='parameters', and {tables[0]!r} of shape {list(shapes[tables[0]])} adapts by the rows looked up: "
            "expected parameters that adapt whole, for every user's update would hold a step size for every entry of "
            "the table; use learned='layers', or leave the table out of fast"
        )
    sizes = {
        name + _LR: np.zeros(shape if learned == "parameters" else (), np.float32) for name, shape in shapes.items()
    }
    return {**sizes, _PRIOR: np.zeros((), np.float32)} if prior else sizes


def factor_of(meta: TorchTree, name: str) -> Tensor | None:
    """What `lr` is multiplied by for the parameter `name`: `[]`, or of its shape; None where it is not learned."""
    entry = meta.get(name + _LR)
    return None if entry is None else entry.exp()


def learned_knobs(meta: TorchTree, knobs: TorchKnobs) -> TorchKnobs:
    """The knobs, `prior` multiplied by what is learned of it."""
    if _PRIOR not in meta:
        return knobs
    return cast("TorchKnobs", {**knobs, "prior": knobs["prior"] * meta[_PRIOR].exp()})


def only_learned(tree: Mapping[str, T]) -> dict[str, T]:
    """The entries of this file."""
    return {name: value for name, value in tree.items() if name.endswith((_LR, _PRIOR))}


def without_learned(tree: Mapping[str, T]) -> dict[str, T]:
    """The other entries."""
    return {name: value for name, value in tree.items() if not name.endswith((_LR, _PRIOR))}


def learning(update: Update, judged: Judged) -> Update:
    """`update`, and that of the learned entries; see the module's text.

    Args:
        update: of the parameters.
        judged: (meta, support, query) -> the query's loss before and after adapting on the support, scalars.
    """

    def both(meta: TorchTree, support: TorchBatch, query: TorchBatch, noise: Tensor) -> TorchTree:
        return update(meta, support, query, noise) | _pulls(judged, meta, support, query)

    return both


def learning_summed(summed: SummedUpdate, judged: Judged) -> SummedUpdate:
    """The same of many users' updates at once; each user's gradient is bounded before the sum."""

    def total(meta: TorchTree, support: TorchBatch, query: TorchBatch, noise: Tensor) -> TorchTree:
        each = vmap(lambda *rows: _pulls(judged, meta, *rows))(support, query)
        return summed.compute(meta, support, query, noise) | {name: value.sum(0) for name, value in each.items()}

    return summed._replace(compute=total)


def _pulls(judged: Judged, meta: TorchTree, support: TorchBatch, query: TorchBatch) -> TorchTree:
    def after_adapting(own: TorchTree) -> tuple[Tensor, Tensor]:
        before, after = judged(meta | own, support, query)
        return after, before

    slopes, (after, before) = grad_and_value(after_adapting, has_aux=True)(only_learned(meta))
    return {name: _bounded(slope, before.abs() + after.abs()) for name, slope in slopes.items()}


def _bounded(slope: Tensor, losses: Tensor) -> Tensor:
    size = losses + slope.square().sum().sqrt()
    return slope * (_REACH * math.sqrt(slope.numel()) / torch.clamp(size, min=_NOTHING))
