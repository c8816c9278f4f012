"""The graphs batched over users, compared with torch user by user."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pytest
import torch
from tests.compile.families import BATCHED, FAMILIES, LONG, SINGLE
from tests.compile.running import (
    NO_NOISE,
    CohortGraphsOf,
    assert_close,
    input_names,
    knobs,
    rows,
    run,
    stacked,
    start,
    tensors,
    torch_batch,
    update_of,
)
from torch import Tensor

from tegu.compile import compile_cohort, compile_cohort_updates
from tegu.core.data.batch import Array, NumpyBatch
from tegu.core.data.tree import Tree
from tegu.core.errors import CompileError
from tegu.learners import fedavg, fedsgd
from tegu.learners.learner import Learner, TorchTree


def family(name: str) -> Any:
    """A family as a parameter. One process has all tests of it, so that its graphs are compiled once."""
    marks = [pytest.mark.xdist_group(f"cohort {name}"), *([pytest.mark.slow] if name in LONG else [])]
    return pytest.param(name, marks=marks)


EVERY = [family(name) for name in (*BATCHED, *LONG)]
WITH_SUMMED_UPDATE = [name for name in BATCHED if BATCHED[name].learner().execution.summed_update is not None]


def users(learner: Learner, count: int, seed: int = 0) -> tuple[list[NumpyBatch], list[NumpyBatch]]:
    """Supports and queries of users with different numbers of rows, padded to the same number."""
    supports = [rows(learner.spec, 1 + user % 4, seed + user, 4 - user % 4) for user in range(count)]
    queries = [rows(learner.spec, 3, seed + 50 + user) for user in range(count)]
    return supports, queries


def clipped_sum(
    learner: Learner,
    meta: Tree,
    pairs: Sequence[tuple[NumpyBatch, NumpyBatch]],
    weight: Sequence[float] | Array,
    limit: float,
) -> tuple[TorchTree, list[float]]:
    """The weighted sum of updates clipped to the norm `limit`, computed in float64, and the norms before clipping."""
    total, norms = dict[str, Tensor](), list[float]()
    for pair, share in zip(pairs, weight, strict=True):
        update = {name: value.detach().double() for name, value in update_of(learner, meta, *pair).items()}
        norms.append(float(torch.cat([value.flatten() for value in update.values()]).norm()))
        factor = float(share) * min(1.0, limit / norms[-1])
        total = {name: total.get(name, 0) + factor * value for name, value in update.items()}
    return {name: value.float() for name, value in total.items()}, norms


@pytest.mark.parametrize("name", EVERY)
def test_adapt_and_predict_of_many_users_equal_torch_user_by_user(name: str, cohort_graphs: CohortGraphsOf) -> None:
    learner, graphs = FAMILIES[name].learner(), cohort_graphs(name)
    for count in (1, 3):
        meta, (supports, queries) = start(learner, count), users(learner, count, seed=count)
        states = [learner.adapt(tensors(meta), torch_batch(one), learner.knobs, NO_NOISE) for one in supports]
        stack = {n: torch.stack([state[n] for state in states]).detach() for n in states[0]}
        assert_close(run(graphs.adapt, meta=meta, support=stacked(supports), knob=knobs(learner)), "state", stack)
        outputs = torch.stack(
            [learner.predict(tensors(meta), s, torch_batch(q).x) for s, q in zip(states, queries, strict=True)]
        )
        state = {n: value.numpy() for n, value in stack.items()}
        found = run(graphs.predict, meta=meta, state=state, x=stacked(queries).x)
        np.testing.assert_allclose(found["output"], outputs.detach().numpy(), rtol=1e-3, atol=2e-5)


def summed(
    learner: Learner,
    graph: bytes | None,
    meta: Tree,
    supports: list[NumpyBatch],
    queries: list[NumpyBatch],
    blocks: Sequence[Sequence[float]] | Array,
    limit: float,
) -> Tree:
    """The graph's sums with whole tables. A learner that merges the query gets it behind the support."""
    assert graph is not None
    if learner.execution.merges_query:
        rows = [
            NumpyBatch(*(np.concatenate(parts) for parts in zip(*pair, strict=True)))
            for pair in zip(supports, queries, strict=True)
        ]
        groups = {"support": stacked(rows)}
    else:
        groups = {"support": stacked(supports), "query": stacked(queries)}
    clipped = {"blocks": np.asarray(blocks, np.float32), "clip": np.asarray(limit, np.float32)}
    found = dict(run(graph, meta=meta, **groups, **clipped))
    for name in [name.removesuffix("/rows") for name in found if name.endswith("/rows")]:
        ids, moved = found.pop(f"{name}/ids"), found.pop(f"{name}/rows")
        found[name] = np.zeros((len(blocks), *meta[name.removeprefix("update.")].shape), np.float32)
        for block, weights in enumerate(blocks):  # the graph has weighted each user's rows
            for user in np.flatnonzero(weights):
                np.add.at(found[name][block], ids[user], moved[user])
    return found


@pytest.mark.parametrize("name", EVERY)
@pytest.mark.parametrize("clip", [True, False], ids=["clipped", "whole"])
def test_update_sums_clipped_updates_in_each_block(name: str, clip: bool, cohort_graphs: CohortGraphsOf) -> None:
    learner = FAMILIES[name].learner()
    meta, (supports, queries), blocks = start(learner), users(learner, 4), [[1.0, 0.5, 0.0, 0.0], [0.0, 0.0, 1.0, 2.0]]
    pairs = list(zip(supports, queries, strict=True))
    _, norms = clipped_sum(learner, meta, pairs, blocks[0], 1.0)
    limit = float(np.median(norms)) if clip else 1e9
    sums = [clipped_sum(learner, meta, pairs, weight, limit)[0] for weight in blocks]
    expected = {n: torch.stack([each[n] for each in sums]) for n in sums[0]}
    found = summed(learner, cohort_graphs(name).update, meta, supports, queries, blocks, limit)
    assert_close(found, "update", expected)


@pytest.mark.parametrize("name", [family(name) for name in WITH_SUMMED_UPDATE])
@pytest.mark.parametrize(("count", "query_rows"), [(1, 3), (5, 3), (5, 0)])
def test_the_summed_update_equals_the_sum_of_each_users_update(
    name: str, count: int, query_rows: int, cohort_graphs: CohortGraphsOf
) -> None:
    learner = FAMILIES[name].learner()
    meta, (supports, _) = start(learner), users(learner, count)
    queries = [rows(learner.spec, query_rows, 50 + user, 3 - query_rows) for user in range(count)]
    expected, _ = clipped_sum(learner, meta, list(zip(supports, queries, strict=True)), np.ones(count), np.inf)
    found = summed(learner, cohort_graphs(name).summed_update, meta, supports, queries, np.ones((1, count)), np.inf)
    assert_close(
        {n: value.reshape(meta[n.removeprefix("update.")].shape) for n, value in found.items()}, "update", expected
    )


def test_which_learners_have_a_summed_update(cohort_graphs: CohortGraphsOf) -> None:
    assert WITH_SUMMED_UPDATE == [
        "second_order",
        "ranking",
        "rows_in_part",
        "wide",
        "wide_minibatches",
        "learned_in_part",
    ]
    assert cohort_graphs("relu").summed_update is None
    assert cohort_graphs("relu").summed_update_rows == 0
    summed_update = cohort_graphs("ranking").summed_update
    assert summed_update is not None
    assert not {"clip", "blocks"} & input_names(summed_update)
    assert [cohort_graphs(name).summed_update_rows for name in ("ranking", "wide")] == [np.inf, 24]


@pytest.mark.parametrize("steps", [0, 1, 7])
def test_the_number_of_steps_is_an_input(steps: int, cohort_graphs: CohortGraphsOf) -> None:
    learner = BATCHED["relu"].learner()
    meta, (supports, _) = start(learner), users(learner, 3)
    found = run(cohort_graphs("relu").adapt, meta=meta, support=stacked(supports), knob=knobs(learner, steps=steps))
    values = {**learner.knobs, "steps": steps}
    states = [learner.adapt(tensors(meta), torch_batch(one), values, NO_NOISE) for one in supports]
    assert_close(found, "state", {n: torch.stack([state[n] for state in states]) for n in states[0]})


def test_graphs_have_the_documented_inputs(cohort_graphs: CohortGraphsOf) -> None:
    graphs = cohort_graphs("second_order")
    meta = {f"meta.{layer}.{kind}" for layer in "02" for kind in ("weight", "bias")}
    support = {"support.x", "support.y", "support.mask"}
    assert input_names(graphs.adapt) == meta | support | {"knob.steps", "knob.lr", "knob.prior"}
    assert input_names(graphs.update) == meta | support | {"query.x", "query.y", "query.mask", "blocks", "clip"}
    assert input_names(graphs.predict) == {"meta.0.weight", "meta.0.bias", "state.2.weight", "state.2.bias", "x"}


@pytest.mark.parametrize("baseline", [fedsgd, fedavg])
def test_a_baselines_update_replaces_the_learners(
    baseline: Callable[..., Learner], cohort_graphs: CohortGraphsOf
) -> None:
    family = BATCHED["relu"]
    learner = baseline(family.model, family.learner())
    meta, (supports, queries), weight = start(learner), users(learner, 3), [1.0, 2.0, 0.5]
    expected, _ = clipped_sum(learner, meta, list(zip(supports, queries, strict=True)), weight, 0.1)
    found = summed(
        learner, compile_cohort_updates(learner, cohort_graphs("relu")).update, meta, supports, queries, [weight], 0.1
    )
    assert_close(found, "update", {n: value[None] for n, value in expected.items()})


def test_compiling_only_the_update_gives_the_same_update(cohort_graphs: CohortGraphsOf) -> None:
    learner, graphs = BATCHED["relu"].learner(), cohort_graphs("relu")
    meta, (supports, queries) = start(learner), users(learner, 3)
    results = [
        summed(learner, graph, meta, supports, queries, np.eye(3), 0.1)
        for graph in (compile_cohort_updates(learner, graphs).update, graphs.update)
    ]
    for name in results[0]:
        np.testing.assert_array_equal(results[0][name], results[1][name])


def test_a_model_without_a_batched_form_raises() -> None:
    message = r"axis 0 of cohort predict\.[\w.]+ is fixed at its example's size of 7: expected code for any"
    with pytest.raises(CompileError, match=message):
        compile_cohort(SINGLE["maxpool"].learner())
