"""How much memory a user's update takes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from tegu.learners.learner import Learner
from tegu.server.compile.examples import example_batch

__all__ = ["footprint"]

_SIZES = 4, 20


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
    """From a user's rows to the bytes of all that its update computes: a bound, since memory is used again.

    Counted at two sizes; what an update computes grows in a straight line with its rows.
    """
    small, large = (_bytes(learner, rows) for rows in _SIZES)
    slope = max(0.0, (large - small) / (2 * (_SIZES[1] - _SIZES[0])))
    return lambda rows: max(0.0, small - slope * 2 * _SIZES[0]) + slope * rows


def _bytes(learner: Learner, rows: int) -> int:
    rng = np.random.default_rng(0)
    meta = {name: torch.tensor(value) for name, value in learner.init(0).items()}
    support, query = (example_batch(learner.spec, rows, rng) for _ in range(2))
    with _Allocated() as allocated:
        learner.update(meta, support, query, torch.zeros(learner.noise))
    total: int = allocated.bytes
    return total
