"""The outer optimiser: any of torch.optim or torch-optimizer, fed with the mean update as if it were a gradient.

SGD gives Reptile's own rule, `meta - lr * mean(meta - adapted)`; Adam, Yogi and others give their federated forms
(Reddi et al. 2021, "Adaptive Federated Optimization", arXiv:2003.00295). State is kept from round to round.
"""

from __future__ import annotations

import inspect
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import torch
from torch import Tensor

from tegu.core.errors import DataError, FederationError
from tegu.core.tree import Tree, same_layout
from tegu.learners.optimisers import optimiser_class

__all__ = ["OuterOptimiser", "OuterRule", "OuterState"]


@dataclass(frozen=True)
class OuterRule:
    """Which optimiser, and how its step size goes down.

    Attributes:
        name: as in torch.optim or torch-optimizer, capitals not minded.
        lr: step size of the first round.
        options: further keyword arguments of the optimiser, such as `weight_decay`.
        decay: go down to zero in a straight line over the rounds of the run, rather than stay.
    """

    name: str = "SGD"
    lr: float = 1.0
    options: Mapping[str, float] = field(default_factory=dict)
    decay: bool = False

    def __post_init__(self) -> None:
        known = inspect.signature(optimiser_class(self.name)).parameters
        unknown = sorted(set(self.options) - set(known))
        if unknown:
            raise DataError(f"{self.name} has no option {', '.join(unknown)}: expected some of {', '.join(known)}")


class OuterState(NamedTuple):
    """An optimiser's state in a form that needs no pickle: tensors as a tree, everything else as JSON."""

    arrays: Tree
    rest: str


class OuterOptimiser:
    """The server's parameters and the optimiser that moves them.

    Args:
        meta: where to start, float32.
        rule: the optimiser.
        rounds: of the whole run; needed for `rule.decay`.
    """

    def __init__(self, meta: Tree, rule: OuterRule, rounds: int) -> None:
        self._rule, self._rounds = rule, rounds
        self._parameters = {name: torch.tensor(array).requires_grad_() for name, array in sorted(meta.items())}
        build: Callable[..., torch.optim.Optimizer] = optimiser_class(rule.name)
        self._optimiser = build(list(self._parameters.values()), lr=rule.lr, **rule.options)

    @property
    def meta(self) -> Tree:
        """A copy of the parameters."""
        return {name: value.detach().numpy().copy() for name, value in self._parameters.items()}

    def step(self, direction: Tree, round_number: int) -> Tree:
        """Subtract `direction` in the optimiser's way and return the new parameters.

        Args:
            direction: mean update over the users of a round, laid out like `meta`.
            round_number: from 1.

        Raises:
            DataError: another layout than `meta`'s.
        """
        same_layout(self.meta, direction)
        rate = self._rule.lr * (1 - (round_number - 1) / self._rounds if self._rule.decay else 1.0)
        for group in self._optimiser.param_groups:
            group["lr"] = rate
        for name, parameter in self._parameters.items():
            parameter.grad = torch.tensor(direction[name])
        self._optimiser.step()
        return self.meta

    def state(self) -> OuterState:
        """What `restore` needs besides the parameters."""
        arrays: dict[str, Any] = {}
        rest: dict[str, dict[str, Any]] = {}
        for name, slots in zip(self._parameters, self._slots(), strict=True):
            tensors = {key: value for key, value in slots.items() if isinstance(value, Tensor)}
            arrays |= {f"{name}/{key}": value.numpy().copy() for key, value in tensors.items()}
            rest[name] = {key: value for key, value in slots.items() if key not in tensors}
        return OuterState(arrays, json.dumps({"optimiser": self._rule.name.lower(), "slots": rest}))

    def restore(self, state: OuterState) -> None:
        """Take up where `state` was written.

        Raises:
            FederationError: it was written by another optimiser.
        """
        body = json.loads(state.rest)
        if body["optimiser"] != self._rule.name.lower():
            raise FederationError(
                f"the checkpoint was written with outer optimiser {body['optimiser']!r} and this run has "
                f"{self._rule.name!r}: name the same one, or start anew"
            )
        for name, parameter in self._parameters.items():
            tensors = {
                key.rpartition("/")[2]: torch.tensor(value)
                for key, value in state.arrays.items()
                if key.rpartition("/")[0] == name
            }
            if slots := {**body["slots"][name], **tensors}:
                self._optimiser.state[parameter] = slots

    def _slots(self) -> list[dict[str, Any]]:
        return [dict(self._optimiser.state.get(parameter, {})) for parameter in self._parameters.values()]
