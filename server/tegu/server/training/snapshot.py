"""An optimiser before a step, so that a step which leaves numbers that are not finite can be taken back."""

from __future__ import annotations

import copy
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor

__all__ = ["Snapshot", "all_finite", "put_back", "take_snapshot"]

_KEPT = ("params",)  # of a group: the parameters themselves


class Snapshot(NamedTuple):
    """Copies of what a step changes.

    Attributes:
        values: of the parameters.
        slots: the optimiser's state of each parameter.
        groups: settings of the optimiser's groups, where some optimisers keep their step count.
    """

    values: list[Tensor]
    slots: dict[Any, Any]
    groups: list[dict[str, Any]]


def take_snapshot(parameters: Sequence[Tensor], optimiser: torch.optim.Optimizer) -> Snapshot:
    """Copy the parameters and the optimiser's state."""
    return Snapshot(
        [parameter.detach().clone() for parameter in parameters],
        {parameter: copy.deepcopy(own) for parameter, own in optimiser.state.items()},
        [
            copy.deepcopy({name: value for name, value in group.items() if name not in _KEPT})
            for group in optimiser.param_groups
        ],
    )


def put_back(snapshot: Snapshot, parameters: Sequence[Tensor], optimiser: torch.optim.Optimizer) -> None:
    """Undo what has changed since the snapshot."""
    with torch.no_grad():
        for parameter, value in zip(parameters, snapshot.values, strict=True):
            parameter.copy_(value)
    optimiser.state.clear()
    optimiser.state.update(snapshot.slots)
    for group, settings in zip(optimiser.param_groups, snapshot.groups, strict=True):
        group.update(settings)


def all_finite(parameters: Sequence[Tensor], optimiser: torch.optim.Optimizer) -> bool:
    """Whether the parameters and every tensor and number of the optimiser's state are finite."""
    return all(bool(torch.isfinite(each).all()) for each in (*parameters, *_tensors(list(optimiser.state.values()))))


def _tensors(value: Any) -> Iterator[Tensor]:
    """The tensors and the numbers at any depth of a state."""
    if isinstance(value, Tensor):
        yield value
    elif isinstance(value, float):
        yield torch.tensor(value)
    elif isinstance(value, dict | list | tuple):
        for each in value.values() if isinstance(value, dict) else value:
            yield from _tensors(each)
