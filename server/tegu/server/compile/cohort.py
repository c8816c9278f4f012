"""The graphs batched over users (leading axis), for simulation. Never part of a bundle."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from tegu.core.bundle import GRAPHS
from tegu.core.errors import CompileError
from tegu.learners.learner import Iterated, Learner
from tegu.server.compile.capture import Function, Named
from tegu.server.compile.examples import Sizes, example_users
from tegu.server.compile.functions import Functions, batched, block_sums, functions, one_by_one, touched_update
from tegu.server.compile.graphs import Plan, compile_graphs
from tegu.server.compile.together import summed, summed_at_once
from tegu.server.threads import one_thread

__all__ = ["CohortGraphs", "compile_cohort", "compile_cohort_update"]

# As in `device`; the numbers of users differ from graph to graph too.
_TRACED = {
    "adapt": Sizes(13, 1, users=6),
    "predict": Sizes(23, 11, users=7),
    "update": Sizes(17, 19, users=14),
    "unclipped": Sizes(29, 31, users=22),
}
_CHECKED = (Sizes(2, 3, 0, users=1), Sizes(4, 3, 1, users=5), Sizes(10, 7, 3, users=9))


@dataclass(frozen=True)
class CohortGraphs:
    """Serialised ONNX over many users at once.

    Attributes:
        adapt: meta, support `[users, rows, ...]`, knobs -> state `[users, ...]`.
        predict: meta, state `[users, ...]`, x `[users, rows, ...]` -> output.
        update: meta, support, query (none for a learner that pools), `blocks` `[blocks, users]`, `clip` -> sums of
            clipped updates `[blocks, ...]`; of tables by rows, each user's clipped rows and their ids.
        unclipped: meta, support, query -> the sum of all users' updates, of tables by rows as above; None for a learner
            without an objective.
    """

    adapt: bytes
    predict: bytes
    update: bytes
    unclipped: bytes | None = None


def compile_cohort(learner: Learner) -> CohortGraphs:
    """The learner's graphs over many users, checked against torch one user at a time.

    Raises:
        CompileError: an operator of the model has no batched form (convolutions, recurrent layers), or a graph
            disagrees with torch. The graphs of a bundle, run user by user, serve then.
        DataError: the loss is not one value a row.
    """
    with one_thread():
        return CohortGraphs(
            **compile_graphs(_plan(learner), GRAPHS if learner.objective is None else (*GRAPHS, "unclipped"))
        )


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
    at_once = {} if learner.objective is None else {"unclipped": summed_at_once(learner, learner.objective)}
    one_after_another = summed(one_by_one(lambda values: touched_update(learner, values)))
    return Plan(
        traced={**_of_many(learner, batched), **at_once},
        reference={**_of_many(learner, one_by_one), "unclipped": one_after_another},
        examples={graph: _users(learner, sizes, seed=0) for graph, sizes in _TRACED.items()},
        cases=[_users(learner, sizes, seed=1 + i) for i, sizes in enumerate(_CHECKED)],
        label="cohort ",
    )


def _users(learner: Learner, sizes: Sizes, seed: int) -> Named:
    inputs = example_users(learner, sizes, seed)
    return {name: value for name, value in inputs.items() if not (learner.pools and name.startswith("query."))}


def _of_many(learner: Learner, over_users: Callable[[Function], Function]) -> Functions:
    many = {name: over_users(function) for name, function in functions(learner).items()}
    return {**many, "update": block_sums(over_users(lambda values: touched_update(learner, values)))}
