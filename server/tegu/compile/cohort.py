"""The graphs batched over users (leading axis), for simulation. Never part of a bundle."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

from tegu.compile.examples import Sizes, example_users
from tegu.compile.functions import Functions, batched, block_sums, functions, one_by_one, touched_update
from tegu.compile.graphs import Plan, compile_graphs
from tegu.compile.named_tensors import Function, Named
from tegu.compile.summed_updates import one_after_the_other, together
from tegu.compile.tracing.naming import knob_tensors, named
from tegu.learners.learner import Learner
from tegu.learners.threads import one_thread

__all__ = ["CohortGraphs", "compile_cohort", "compile_cohort_updates"]

# As in `device`; the numbers of users differ from graph to graph too.
_TRACED = {
    "adapt": Sizes(13, 1, users=6),
    "predict": Sizes(23, 11, users=7),
    "update": Sizes(17, 19, users=14),
    "together": Sizes(29, 31, users=22),
}
_CHECKED = (Sizes(2, 3, 0, users=1), Sizes(4, 3, 1, users=5), Sizes(10, 7, 3, users=9))


@dataclass(frozen=True)
class CohortGraphs:
    """Serialised ONNX over many users at once.

    Attributes:
        adapt: meta, support `[users, rows, ...]`, knobs, noise `[users, noise]` -> state `[users, ...]`.
        predict: meta, state `[users, ...]`, x `[users, rows, ...]` -> output.
        update: meta, support, query (none for a learner that merges it), noise, `blocks` `[blocks, users]`, `clip` ->
            sums of clipped updates `[blocks, ...]`; of tables by rows, each user's clipped rows and their ids.
        together: meta, support, query, noise -> the sum of all users' updates, none clipped, tables by rows as above;
            None for a learner without such a sum.
        together_rows: up to which it takes less time than `update`.
    """

    adapt: bytes
    predict: bytes
    update: bytes
    together: bytes | None = None
    together_rows: float = 0.0


def compile_cohort(learner: Learner) -> CohortGraphs:
    """The learner's graphs over many users, checked against torch one user at a time.

    Raises:
        CompileError: an operator of the model has no batched form (convolutions, recurrent layers), or a graph
            disagrees with torch. The graphs of a bundle, run user by user, serve then.
        DataError: the loss is not one value a row.
    """
    with one_thread():
        graphs = compile_graphs(_plan(learner), ("adapt", "predict", *_updates(learner)))
    return _with_updates(CohortGraphs(graphs["adapt"], graphs["predict"], b""), learner, graphs)


def compile_cohort_updates(learner: Learner, graphs: CohortGraphs) -> CohortGraphs:
    """`graphs` with the updates of a learner that adapts and predicts as theirs does.

    Raises:
        CompileError: as `compile_cohort`.
        DataError: as `compile_cohort`.
    """
    with one_thread():
        return _with_updates(graphs, learner, compile_graphs(_plan(learner), _updates(learner)))


def _updates(learner: Learner) -> tuple[str, ...]:
    return ("update",) if learner.execution.summed_update is None else ("update", "together")


def _with_updates(graphs: CohortGraphs, learner: Learner, compiled: Mapping[str, bytes]) -> CohortGraphs:
    summed = learner.execution.summed_update
    rows = 0.0 if summed is None else summed.max_rows
    return replace(graphs, update=compiled["update"], together=compiled.get("together"), together_rows=rows)


def _plan(learner: Learner) -> Plan:
    summed = learner.execution.summed_update
    sums = {} if summed is None else {"together": together(summed)}
    return Plan(
        traced={**_of_many(learner, batched), **sums},
        reference={**_of_many(learner, one_by_one), "together": one_after_the_other(learner)},
        examples={graph: _users(learner, sizes, seed=0) for graph, sizes in _TRACED.items()},
        cases=[_users(learner, sizes, seed=1 + i) for i, sizes in enumerate(_CHECKED)],
        unadapted=named("knob", knob_tensors(learner.unadapted)),
        label="cohort ",
    )


def _users(learner: Learner, sizes: Sizes, seed: int) -> Named:
    inputs = example_users(learner, sizes, seed)
    return {
        name: value
        for name, value in inputs.items()
        if not (learner.execution.merges_query and name.startswith("query."))
    }


def _of_many(learner: Learner, over_users: Callable[[Function], Function]) -> Functions:
    many = {name: over_users(function) for name, function in functions(learner).items()}
    return {**many, "update": block_sums(over_users(lambda values: touched_update(learner, values)))}
