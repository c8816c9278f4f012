"""The graphs batched over users (leading axis), for simulation. Never part of a bundle."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace

from tegu.compile.examples import Sizes, example_users
from tegu.compile.functions import Functions, batched, block_sums, functions, one_by_one, step_identity, touched_update
from tegu.compile.graphs import Plan, check_sizes, compile_graphs
from tegu.compile.lock import compiling
from tegu.compile.named_tensors import Function, Named
from tegu.compile.summed_updates import sum_at_once, sum_one_by_one
from tegu.compile.tracing.naming import knob_tensors, with_prefix
from tegu.core.cohort_graphs import CohortGraphs
from tegu.learners.default_dtype import float32_by_default
from tegu.learners.learner import Learner

__all__ = ["CohortGraphs", "compile_cohort", "compile_cohort_updates"]

# As in `device`. The number of users differs from graph to graph too.
_TRACED = {
    "adapt": Sizes(13, 1, users=6),
    "predict": Sizes(23, 11, users=7),
    "update": Sizes(17, 19, users=14),
    "summed_update": Sizes(29, 31, users=22),
}
_CHECKED = (Sizes(2, 3, 0, users=1), Sizes(4, 3, 1, users=5), Sizes(10, 7, 3, users=9))


@float32_by_default()
def compile_cohort(learner: Learner) -> CohortGraphs:
    """The learner's graphs over many users, checked against torch one user at a time.

    Raises:
        CompileError: an operator of the model has no batched form (convolutions, recurrent layers), or a graph
            disagrees with torch. In that case run the graphs of a bundle user by user.
        DataError: the loss does not give one value per row.
    """
    plan = _plan(learner)
    with compiling():
        check_sizes(plan, "predict")  # takes a tenth of the time after which the others would fail for the same reason
        graphs = compile_graphs(plan, ("adapt", "predict", *_update_graphs(learner)))
    return _with_updates(CohortGraphs(graphs["adapt"], graphs["predict"], b""), learner, graphs)


@float32_by_default()
def compile_cohort_updates(learner: Learner, graphs: CohortGraphs) -> CohortGraphs:
    """`graphs` with another learner's update graphs.

    Args:
        learner: it must adapt and predict exactly as the learner that `graphs` was compiled from.
        graphs: the result of `compile_cohort`.

    Raises:
        CompileError: as `compile_cohort`.
        DataError: as `compile_cohort`.
    """
    with compiling():
        return _with_updates(graphs, learner, compile_graphs(_plan(learner), _update_graphs(learner)))


def _update_graphs(learner: Learner) -> tuple[str, ...]:
    return ("update",) if learner.execution.summed_update is None else ("update", "summed_update")


def _with_updates(graphs: CohortGraphs, learner: Learner, compiled: Mapping[str, bytes]) -> CohortGraphs:
    summed = learner.execution.summed_update
    rows = 0.0 if summed is None else summed.max_rows
    return replace(
        graphs, update=compiled["update"], summed_update=compiled.get("summed_update"), summed_update_rows=rows
    )


def _plan(learner: Learner) -> Plan:
    summed = learner.execution.summed_update
    sums = {} if summed is None else {"summed_update": sum_at_once(summed)}
    return Plan(
        traced={**_over_users(learner, batched), **sums},
        reference={**_over_users(learner, one_by_one), "summed_update": sum_one_by_one(learner)},
        examples={graph: _inputs(learner, sizes, seed=0) for graph, sizes in _TRACED.items()},
        cases=[_inputs(learner, sizes, seed=1 + i) for i, sizes in enumerate(_CHECKED)],
        unadapted=with_prefix("knob", knob_tensors(learner.unadapted)),
        label="cohort ",
        step_identity=step_identity(learner),
    )


def _inputs(learner: Learner, sizes: Sizes, seed: int) -> Named:
    inputs = example_users(learner, sizes, seed)
    return {
        name: value
        for name, value in inputs.items()
        if not (learner.execution.merges_query and name.startswith("query."))
    }


def _over_users(learner: Learner, lift: Callable[[Function], Function]) -> Functions:
    many = {name: lift(function) for name, function in functions(learner).items()}
    return {**many, "update": block_sums(lift(lambda values: touched_update(learner, values)))}
