"""The memory that a user's update takes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from tegu.compile.examples import example_batch
from tegu.core.data.batch import Batch
from tegu.learners.learner import Learner, TorchBatch, TorchTree, Update
from tegu.sim.engine.engine import MAX_SUMMED_USERS

__all__ = ["Allocated", "footprint", "summed_update_footprint"]

_SIZES = 4, 20  # rows at which memory is measured
_USERS = 2, 4  # for whom memory is measured: that of many is linear in them, and takes seconds for convolutions


class Allocated(TorchDispatchMode):  # type: ignore[no-untyped-call] # torch does not type this class
    """Adds up the bytes of every tensor that is created within the context."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call] # as above
        self.bytes: int = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        self.bytes += sum(leaf.nbytes for leaf in tree_leaves(result) if isinstance(leaf, Tensor))
        return result


def footprint(learner: Learner) -> Callable[[int], float]:
    """A function from a user's rows to the bytes of all tensors of its update.

    This is an upper bound, since memory is reused.
    """
    meta = _meta(learner)

    def bytes_of(rows: int) -> float:
        return _allocated(learner.update, meta, *_example(learner, rows), torch.zeros(learner.noise))

    return _linear(bytes_of)


def summed_update_footprint(learner: Learner) -> Callable[[int], float]:
    """As `footprint`, for one user's share of an update that is summed over users at once.

    The function returns 0 if the learner has no summed update.
    """
    if learner.execution.summed_update is None:
        return lambda rows: 0.0
    compute, meta = learner.execution.summed_update.compute, _meta(learner)

    def at_once(rows: int, users: int) -> float:
        batches = [_repeated(batch, users) for batch in _example(learner, rows)]
        return _allocated(compute, meta, *batches, torch.zeros(users, learner.noise))

    def bytes_of(rows: int) -> float:
        few, more = (at_once(rows, users) for users in _USERS)
        each = (more - few) / (_USERS[1] - _USERS[0])
        return (few + each * (MAX_SUMMED_USERS - _USERS[0])) / MAX_SUMMED_USERS

    return _linear(bytes_of)


def _linear(bytes_of: Callable[[int], float]) -> Callable[[int], float]:
    """A line through measurements at two sizes; the memory of an update is linear in its rows."""
    small, large = map(bytes_of, _SIZES)
    slope = max(0.0, (large - small) / (2 * (_SIZES[1] - _SIZES[0])))
    return lambda rows: max(0.0, small - slope * 2 * _SIZES[0]) + slope * rows


def _meta(learner: Learner) -> TorchTree:
    return {name: torch.tensor(value) for name, value in learner.init(0).items()}


def _example(learner: Learner, rows: int) -> tuple[TorchBatch, TorchBatch]:
    rng = np.random.default_rng(0)
    return example_batch(learner, rows, rng), example_batch(learner, rows, rng)


def _repeated(batch: TorchBatch, users: int) -> TorchBatch:
    return Batch(*(values.expand(users, *values.shape) for values in batch))


def _allocated(update: Update, *arguments: Any) -> float:
    with Allocated() as allocated:
        update(*arguments)
    return float(allocated.bytes)
