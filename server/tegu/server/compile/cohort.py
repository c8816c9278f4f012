"""The graphs batched over users (leading axis), for simulation. Never part of a bundle."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from tegu.core.errors import CompileError
from tegu.learners.learner import Iterated, Learner
from tegu.learners.rows import whole_parameters, whole_update
from tegu.server.compile.capture import Function, Named
from tegu.server.compile.examples import Sizes, example_users
from tegu.server.compile.functions import Functions, batched, functions, one_by_one, touched_update
from tegu.server.compile.graphs import Plan, compile_graphs, one_thread
from tegu.server.compile.naming import named, pick

__all__ = ["CohortGraphs", "compile_cohort", "compile_cohort_update"]

# As in `device`; the numbers of users differ from graph to graph too.
_TRACED = {
    "adapt": Sizes(13, 1, users=6),
    "predict": Sizes(23, 11, users=7),
    "update": Sizes(17, 19, users=14),
}
_CHECKED = (Sizes(2, 3, 0, users=1), Sizes(4, 3, 1, users=5), Sizes(10, 7, 3, users=9))


@dataclass(frozen=True)
class CohortGraphs:
    """Serialised ONNX over many users at once.

    Attributes:
        adapt: meta, support `[users, rows, ...]`, knobs -> state `[users, ...]`.
        predict: meta, state `[users, ...]`, x `[users, rows, ...]` -> output.
        update: meta, support, query, `weight` `[users]`, `clip` -> the weighted sum of clipped updates.
    """

    adapt: bytes
    predict: bytes
    update: bytes


def compile_cohort(learner: Learner) -> CohortGraphs:
    """The learner's graphs over many users, checked against torch one user at a time.

    Raises:
        CompileError: an operator of the model has no batched form (convolutions, recurrent layers), or a graph
            disagrees with torch. The graphs of a bundle, run user by user, serve then.
        DataError: the loss is not one value a row.
    """
    with one_thread():
        return CohortGraphs(**compile_graphs(_plan(learner)))


def compile_cohort_update(learner: Learner) -> bytes:
    """The batched `update` alone, for a learner that adapts and predicts like another one.

    Raises:
        CompileError: as `compile_cohort`.
        DataError: as `compile_cohort`.
    """
    with one_thread():
        return compile_graphs(_plan(learner), ("update",))["update"]


def _plan(learner: Learner) -> Plan:
    if learner.noise or not isinstance(learner.adapt, Iterated):
        raise CompileError(
            f"{learner.name} draws noise or is not iterated: expected an iterated learner without noise; "
            "run its device graphs user by user"
        )
    return Plan(
        traced=_of_many(learner, batched),
        reference=_of_many(learner, one_by_one),
        examples={graph: example_users(learner, sizes, seed=0) for graph, sizes in _TRACED.items()},
        cases=[example_users(learner, sizes, seed=1 + i) for i, sizes in enumerate(_CHECKED)],
        label="cohort ",
    )


def _of_many(learner: Learner, over_users: Callable[[Function], Function]) -> Functions:
    many = {name: over_users(function) for name, function in functions(learner).items()}
    return {**many, "update": _weighted_sum(over_users(lambda values: touched_update(learner, values)))}


def _weighted_sum(updates: Function) -> Function:
    """Sum over users of `weight * clip(update)`; each user's whole update is clipped to the norm `clip`.

    Tables stay by rows until all users are one.
    """

    def total(values: Named) -> Named:
        found = dict(updates(values))
        ids = {name: value for name, value in found.items() if not value.is_floating_point()}
        moved = {name: value for name, value in found.items() if name not in ids}
        factor = values["weight"] * _shrinkage(list(moved.values()), values["clip"])
        whole = whole_parameters(found)
        summed = {name: torch.tensordot(factor, value, 1) for name, value in whole.items()}
        rows = {name: _scaled(value, factor).flatten(0, 1) for name, value in moved.items() if name not in whole}
        touched = {name: value.flatten() for name, value in ids.items()}
        return named("update", whole_update(pick("meta", values), {**summed, **rows, **touched}))

    return total


def _scaled(value: Tensor, factor: Tensor) -> Tensor:
    return value * factor.reshape(-1, *[1] * (value.dim() - 1))


def _shrinkage(updates: list[Tensor], limit: Tensor) -> Tensor:
    # Repeats of an id add up in a table, but all of them save one are zero.
    squares = torch.stack([value.square().flatten(1).sum(1) for value in updates]).sum(0)
    return (limit / squares.sqrt().clamp(min=1e-12)).clamp(max=1.0)
