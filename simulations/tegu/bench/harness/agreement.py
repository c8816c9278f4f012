"""Whether two implementations did the same work: their losses round by round, computed by one function for both."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import torch
from torch import Tensor, nn

from tegu.bench.tasks.models import MODELS, cross_entropy
from tegu.bench.tasks.task import Task
from tegu.core.data.batch import Array
from tegu.core.data.tree import Tree
from tegu.core.errors import RuntimeFailure

__all__ = ["TOLERANCE", "check_agreement", "loss_curve"]

# Summing float32 in another order changes a loss by 4e-7. Omitting a user or a step changes it by at least 2e-5.
TOLERANCE = 1e-5


def loss_curve(task: Task, trees: Sequence[Tree]) -> Array:
    """The mean loss over all rows of the task, for each of the parameter trees: `[trees]`."""
    model, spec = MODELS[task.settings.model].build().eval(), MODELS[task.settings.model].spec
    x, y = torch.from_numpy(task.x), torch.from_numpy(task.y)
    loss = _catalogue_loss(spec.items) if spec.kind == "ranking" else cross_entropy
    curve = []
    with torch.no_grad():
        for tree in trees:
            model.load_state_dict({name: torch.from_numpy(np.array(value)) for name, value in tree.items()})
            curve.append(float(loss(model, x, y)))
    return np.array(curve)


def _catalogue_loss(items: int) -> Callable[[nn.Module, Tensor, Tensor], Tensor]:
    def loss(model: nn.Module, x: Tensor, y: Tensor) -> Tensor:
        return -(torch.log_softmax(model(torch.arange(items)), -1)[x] * y).mean()

    return loss


def check_agreement(ours: Array, theirs: Array, peer: str) -> float:
    """The largest relative difference between two loss curves.

    Args:
        ours: Tegu's losses, `[rounds + 1]`.
        theirs: the peer's losses, the same.
        peer: the peer's name, for the error.

    Raises:
        RuntimeFailure: the difference is above `TOLERANCE`, or the curves differ in length.
    """
    largest = float(np.max(np.abs(ours - theirs) / np.abs(theirs))) if len(ours) == len(theirs) else np.inf
    if not largest <= TOLERANCE:  # NaN too
        raise RuntimeFailure(
            f"tegu's losses are {_abbreviated(ours)} and those of {peer} {_abbreviated(theirs)}: expected a relative "
            f"difference of at most {TOLERANCE:g}, found {largest:.2g}; they did not do the same work, so their times "
            "cannot be compared"
        )
    return largest


def _abbreviated(curve: Array) -> str:
    losses = [f"{loss:.4f}" for loss in curve]
    return ", ".join(losses if len(losses) <= 4 else [*losses[:2], "...", *losses[-2:]])
