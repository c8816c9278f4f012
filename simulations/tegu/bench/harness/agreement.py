"""Whether two sides did the same work: their losses round by round, computed by one function for both."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import torch
from torch import Tensor, nn

from tegu.bench.tasks.models import MODELS, loss_of
from tegu.bench.tasks.task import Task
from tegu.core.data.batch import Array
from tegu.core.data.tree import Tree
from tegu.core.errors import RuntimeFailure

__all__ = ["TOLERANCE", "difference", "loss_curve"]

# Float32 summed in another order makes 4e-7; a user or a step left out, in the most forgiving of the works, 2e-5.
TOLERANCE = 1e-5


def loss_curve(task: Task, trees: Sequence[Tree]) -> Array:
    """The mean loss over all rows of the task with each of the trees, `[trees]`."""
    model, spec = MODELS[task.work.model].build().eval(), MODELS[task.work.model].spec
    x, y = torch.from_numpy(task.x), torch.from_numpy(task.y)
    loss = _catalogue_loss(spec.items) if spec.kind == "ranking" else loss_of
    with torch.no_grad():
        return np.array([float(_with(model, tree, lambda module: loss(module, x, y))) for tree in trees])


def _with(model: nn.Module, tree: Tree, then: Callable[[nn.Module], Tensor]) -> Tensor:
    model.load_state_dict({name: torch.from_numpy(np.array(value)) for name, value in tree.items()})
    return then(model)


def _catalogue_loss(items: int) -> Callable[[nn.Module, Tensor, Tensor], Tensor]:
    def loss(model: nn.Module, x: Tensor, y: Tensor) -> Tensor:
        return -(torch.log_softmax(model(torch.arange(items)), -1)[x] * y).mean()

    return loss


def difference(ours: Array, theirs: Array, who: str) -> float:
    """The largest relative difference between two loss curves.

    Raises:
        RuntimeFailure: it is above `TOLERANCE`, or the curves are not of one length.
    """
    worst = float(np.max(np.abs(ours - theirs) / np.abs(theirs))) if len(ours) == len(theirs) else np.inf
    if not worst <= TOLERANCE:  # NaN too
        raise RuntimeFailure(
            f"tegu's losses are {_short(ours)} and those of {who} {_short(theirs)}: expected a relative difference of "
            f"at most {TOLERANCE:g}, found {worst:.2g}; they did not do the same work, so their times do not compare"
        )
    return worst


def _short(curve: Array) -> str:
    shown = [f"{loss:.4f}" for loss in curve]
    return ", ".join(shown if len(shown) <= 4 else [*shown[:2], "...", *shown[-2:]])
