"""How much memory a user's update takes."""

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

__all__ = ["TOGETHER", "footprint", "footprint_together"]

_SIZES = 4, 20
TOGETHER = 64  # users whose updates are summed at once, at most


class _Allocated(TorchDispatchMode):  # type: ignore[no-untyped-call] # torch leaves its hook bare
    """Adds up the bytes of every tensor that is made while it lasts."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call] # as above
        self.bytes: int = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        self.bytes += sum(leaf.nbytes for leaf in tree_leaves(result) if isinstance(leaf, Tensor))
        return result


def footprint(learner: Learner) -> Callable[[int], float]:
    """From a user's rows to the bytes of all that its update computes: a bound, since memory is used again."""
    meta = _meta(learner)

    def bytes_of(rows: int) -> float:
        return _allocated(learner.update, meta, *_example(learner, rows), torch.zeros(learner.noise))

    return _line(bytes_of)


def footprint_together(learner: Learner) -> Callable[[int], float]:
    """As `footprint`, a user's share where the updates of a few users are summed together; 0 where they cannot be."""
    if learner.execution.summed_update is None:
        return lambda rows: 0.0
    total, meta = learner.execution.summed_update.compute, _meta(learner)

    def bytes_of(rows: int) -> float:
        many = [Batch(*(part.expand(TOGETHER, *part.shape) for part in batch)) for batch in _example(learner, rows)]
        return _allocated(total, meta, *many, torch.zeros(TOGETHER, learner.noise)) / TOGETHER

    return _line(bytes_of)


def _line(bytes_of: Callable[[int], float]) -> Callable[[int], float]:
    """Counted at two sizes; what an update computes grows in a straight line with its rows."""
    small, large = map(bytes_of, _SIZES)
    slope = max(0.0, (large - small) / (2 * (_SIZES[1] - _SIZES[0])))
    return lambda rows: max(0.0, small - slope * 2 * _SIZES[0]) + slope * rows


def _meta(learner: Learner) -> TorchTree:
    return {name: torch.tensor(value) for name, value in learner.init(0).items()}


def _example(learner: Learner, rows: int) -> tuple[TorchBatch, TorchBatch]:
    rng = np.random.default_rng(0)
    return example_batch(learner, rows, rng), example_batch(learner, rows, rng)


def _allocated(update: Update, *arguments: Any) -> float:
    with _Allocated() as allocated:
        update(*arguments)
    return float(allocated.bytes)
