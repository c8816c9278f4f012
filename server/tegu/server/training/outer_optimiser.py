"""The outer optimiser: any optimiser of torch.optim or torch-optimizer, with the mean update as its gradient.

SGD gives Reptile's own rule, `meta - lr * mean(meta - adapted)`; Adam, Yogi and others give their federated variants
(Reddi et al. 2021, "Adaptive Federated Optimization", arXiv:2003.00295). The state is kept from round to round.

Parameters of a constant step size are noisy. Their average over rounds is not, and needs no number of rounds in
advance, as a decaying step size does. With `averaged`, rounds train the iterate, and its polynomial-decay average is
what is validated and kept (Shamir and Zhang 2013, arXiv:1212.1824): after round t the iterate enters with weight
9 / (t + 8), so that about the last ninth of the rounds counts.
"""

from __future__ import annotations

import contextlib
import inspect
import json
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from tegu.core.data.tree import Tree, check_same_layout, trained_part
from tegu.core.errors import DataError, FederationError
from tegu.core.scalars import real_number
from tegu.learners.inner_loop.optimisers import optimiser_class
from tegu.learners.threads import one_thread
from tegu.server.training.snapshot import all_finite, put_back, take_snapshot

__all__ = ["DivergedError", "OuterOptimiser", "OuterRule", "OuterState"]

# Every operator waits for all threads. If other programs use a core, the wait is longer than the computation.
_ONE_THREAD_BELOW = 1 << 20  # parameters
_NEARER = "lower the outer lr, or limit updates by UpdatePlan(clip=1.0)"
_NOT_OPTIONS = ("params", "lr")  # set by the server and by `OuterRule.lr`
_FORGETTING = 8  # the weight of a round grows with the power of 8 of its number


class DivergedError(FederationError):
    """A step would leave numbers that are not finite. Parameters and optimiser are as before it."""


@dataclass(frozen=True)
class OuterRule:
    """Which optimiser, and its step size over the rounds.

    Attributes:
        name: as in torch.optim or torch-optimizer, case-insensitive; `tegu.learners.optimiser_names` lists them.
        lr: step size of the first round.
        options: further keyword arguments of the optimiser, such as `weight_decay`.
        decay: whether the step size decreases linearly to zero over the rounds of the run.
        averaged: whether an average over rounds is validated and kept, in place of the last round's parameters.

    Raises:
        DataError: an option that the optimiser does not have, or the optimiser needs more than a gradient.
        UnknownNameError: no such optimiser.
    """

    name: str = "SGD"
    lr: float = 1.0
    options: Mapping[str, float] = field(default_factory=dict)
    decay: bool = False
    averaged: bool = False

    def __post_init__(self) -> None:
        object.__setattr__(self, "lr", real_number("the outer lr", self.lr))
        parameters = inspect.signature(optimiser_class(self.name)).parameters
        known = [name for name in parameters if name not in _NOT_OPTIONS]
        unknown = sorted(set(self.options) - set(known))
        if unknown:
            raise DataError(f"{self.name} has no option {', '.join(unknown)}: choose from {', '.join(known)}")


class OuterState(NamedTuple):
    """An optimiser's state in a form that needs no pickle.

    Attributes:
        arrays: its tensors, by number.
        rest: everything else, as JSON.
    """

    arrays: Tree
    rest: str

    def __repr__(self) -> str:
        return f"OuterState({len(self.arrays)} arrays)"


class OuterOptimiser:
    """The server's parameters and the optimiser that updates them.

    Args:
        meta: initial parameters, float32.
        rule: the optimiser and its step size.
        rounds: number of rounds of the whole run, for `rule.decay`.
        fixed: names of parameters that no step changes, not even by weight decay (`Manifest.fixed_parameters`).

    Raises:
        DataError: the optimiser rejects an option's value, or parameters of these shapes.
    """

    def __init__(self, meta: Tree, rule: OuterRule, rounds: int, fixed: Collection[str] = ()) -> None:
        trained = trained_part(meta, fixed)
        self._rule, self._rounds, self._layout = rule, rounds, trained
        self._fixed = {name: array.copy() for name, array in meta.items() if name not in trained}
        self._parameters = {name: torch.tensor(array).requires_grad_() for name, array in sorted(trained.items())}
        self._average = {name: array.copy() for name, array in trained.items()} if rule.averaged else None
        build: Callable[..., torch.optim.Optimizer] = optimiser_class(rule.name)
        try:
            self._optimiser = build(list(self._parameters.values()), lr=rule.lr, **rule.options)
        except (TypeError, ValueError) as error:
            raise DataError(
                f"{rule.name} rejects lr {rule.lr} with options {dict(rule.options)} for these parameters ({error}): "
                "correct the setting that it names, or choose another optimiser"
            ) from error

    def __repr__(self) -> str:
        return f"OuterOptimiser({self._rule}, {len(self._parameters)} parameter tensors)"

    @property
    def meta(self) -> Tree:
        """A copy of the parameters to keep: the trained ones, averaged if the rule says so, and the fixed ones."""
        kept = self.trained if self._average is None else {name: each.copy() for name, each in self._average.items()}
        return {**kept, **self._fixed}

    @property
    def fixed(self) -> Collection[str]:
        """Names of the parameters that no step changes."""
        return self._fixed.keys()

    @property
    def trained(self) -> Tree:
        """A copy of the parameters that the next round trains. Updates have this layout. Rounds send nothing else."""
        return {name: value.detach().numpy().copy() for name, value in self._parameters.items()}

    def step(self, direction: Tree, round_number: int) -> Tree:
        """Take one optimiser step along `direction` and return `meta` after it.

        Nothing changes where the new parameters or the optimiser's new state would not be finite.

        Args:
            direction: mean update over the users of a round, with the layout of `trained`. It takes the gradient's
                place.
            round_number: from 1.

        Raises:
            DataError: `direction` has another layout than `trained`.
            DivergedError: `direction`, the new parameters or the optimiser's new state are not finite.
        """
        check_same_layout(self._layout, direction)
        if broken := [name for name, array in direction.items() if not np.isfinite(array).all()]:
            raise DivergedError(f"the mean update of {broken[0]!r} is not finite: {_NEARER}")
        parameters = list(self._parameters.values())
        rate = self._rule.lr * (1 - (round_number - 1) / self._rounds if self._rule.decay else 1.0)
        small = sum(parameter.numel() for parameter in parameters) < _ONE_THREAD_BELOW
        with one_thread() if small else contextlib.nullcontext():
            before = take_snapshot(parameters, self._optimiser)
            for group in self._optimiser.param_groups:
                group["lr"] = rate
            for name, parameter in self._parameters.items():
                parameter.grad = torch.tensor(direction[name])
            self._optimiser.step()
            finite = all_finite(parameters, self._optimiser)
        if not finite:
            put_back(before, parameters, self._optimiser)
            raise DivergedError(f"the step of {self._rule.name} leaves numbers that are not finite: {_NEARER}")
        self._enter_average(round_number)
        return self.meta

    def _enter_average(self, round_number: int) -> None:
        weight = np.float32((_FORGETTING + 1) / (round_number + _FORGETTING))
        for name, average in (self._average or {}).items():
            np.add(average, weight * (self._parameters[name].detach().numpy() - average), out=average)

    def state(self) -> OuterState:
        """The optimiser's state, for `restore`. It does not include `meta`."""
        arrays: dict[str, Any] = {}
        body = {
            "optimiser": self._rule.name.lower(),
            "slots": {name: _packed(dict(self._slots(name)), arrays) for name in self._parameters},
            "groups": [_packed(_settings(group), arrays) for group in self._optimiser.param_groups],
        }
        if self._average is not None:
            body["iterate"] = _packed({name: value.detach() for name, value in self._parameters.items()}, arrays)
        return OuterState(arrays, json.dumps(body))

    def restore(self, state: OuterState) -> None:
        """Set the optimiser's state.

        Raises:
            FederationError: the state is that of another optimiser.
        """
        body = json.loads(state.rest)
        if body["optimiser"] != self._rule.name.lower():
            raise FederationError(
                f"the checkpoint was written with outer optimiser {body['optimiser']!r} and this run has "
                f"{self._rule.name!r}: choose the same one, or start again without the checkpoint"
            )
        for name, parameter in self._parameters.items():
            if slots := _unpacked(body["slots"][name], state.arrays):
                self._optimiser.state[parameter] = slots
        for group, packed in zip(self._optimiser.param_groups, body["groups"], strict=True):
            group.update(_unpacked(packed, state.arrays))
        if self._average is not None:
            for name, value in _unpacked(body["iterate"], state.arrays).items():
                self._parameters[name].data.copy_(value)

    def _slots(self, name: str) -> Mapping[str, Any]:
        slots: Mapping[str, Any] = self._optimiser.state.get(self._parameters[name], {})
        return slots


def _settings(group: Mapping[str, Any]) -> dict[str, Any]:
    # Some optimisers store their step count or phase in the group (MADGRAD, SWATS).
    return {name: value for name, value in group.items() if name not in _NOT_OPTIONS}


def _packed(value: Any, arrays: dict[str, Any]) -> Any:
    """`value` as JSON. Tensors at any depth move to `arrays` and are replaced by their key there."""
    if isinstance(value, Tensor):
        key = f"{len(arrays):04d}"
        arrays[key] = value.detach().numpy().copy()
        return {"tensor": key}
    if isinstance(value, dict):  # a list of pairs, because JSON would turn AggMo's numeric keys into strings
        return {"dict": [[name, _packed(item, arrays)] for name, item in value.items()]}
    if isinstance(value, list | tuple):
        return {type(value).__name__: [_packed(item, arrays) for item in value]}
    return value


def _unpacked(value: Any, arrays: Tree) -> Any:
    if not isinstance(value, dict):
        return value
    ((kind, body),) = value.items()
    if kind == "tensor":
        return torch.tensor(arrays[body])
    if kind == "dict":
        return {name: _unpacked(item, arrays) for name, item in body}
    items = [_unpacked(item, arrays) for item in body]
    return tuple(items) if kind == "tuple" else items
