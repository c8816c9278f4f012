"""The graphs of a mixture compared with torch, for one user and for many."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from tests.compile.families import BATCHED, ROWS_OF_4, mlp
from tests.compile.running import (
    NO_NOISE,
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
from torch import nn

from tegu.compile import compile_cohort, compile_learner
from tegu.core.data.batch import NumpyBatch
from tegu.learners import mixture, residual_correction

LEARNERS = {
    "gradients": lambda: mixture(BATCHED["relu"].learner(), 2),
    "rows": lambda: mixture(BATCHED["rows_in_part"].learner(), 2),
    "ranking": lambda: mixture(BATCHED["ranking"].learner(), 2),
    "correction": lambda: mixture(residual_correction(mlp(nn.Tanh()), ROWS_OF_4, steps=2, init="fresh"), 3),
}


@pytest.mark.parametrize("name", LEARNERS)
def test_device_graphs_equal_torch(name: str) -> None:
    learner = LEARNERS[name]()
    graphs = compile_learner(learner)
    for seed, (count, padding, steps) in enumerate([(1, 0, 2), (5, 2, 0), (14, 0, 1)]):
        meta, support, query = start(learner, seed), rows(learner.spec, count, seed, padding), rows(learner.spec, 3, 7)
        values = {**learner.knobs, "steps": steps}
        state = learner.adapt(tensors(meta), torch_batch(support), values, NO_NOISE)
        found = run(graphs["adapt"], meta=meta, support=support, knob=knobs(learner, steps=steps))
        assert_close(found, "state", state)
        assert_close(
            run(graphs["update"], meta=meta, support=support, query=query),
            "update",
            update_of(learner, meta, support, query),
        )
        output = learner.predict(tensors(meta), state, torch_batch(query).x)
        numpy_state = {n: v.detach().numpy() for n, v in state.items()}
        found = run(graphs["predict"], meta=meta, state=numpy_state, x=query.x)
        assert_close({"o.output": found["output"]}, "o", {"output": output})
    assert {"knob.steps", "knob.temperature", "meta.share/0", "meta.share/1"} <= input_names(graphs["adapt"])


@pytest.mark.parametrize("name", ["gradients", "correction"])
def test_cohort_graphs_equal_torch(name: str) -> None:
    learner = LEARNERS[name]()
    graphs, meta = compile_cohort(learner), start(learner)
    supports = [rows(learner.spec, 1 + user % 4, user, 4 - user % 4) for user in range(5)]
    states = [learner.adapt(tensors(meta), torch_batch(one), learner.knobs, NO_NOISE) for one in supports]
    stack = {n: torch.stack([state[n] for state in states]).detach() for n in states[0]}
    assert_close(run(graphs.adapt, meta=meta, support=stacked(supports), knob=knobs(learner)), "state", stack)
    no_query = NumpyBatch(*(part[:0] for part in supports[0]))
    updates = [update_of(learner, meta, one, no_query) for one in supports]
    expected = {n: torch.stack([each[n] for each in updates]) for n in updates[0]}
    one_block_per_user = np.eye(5, dtype=np.float32)
    found = run(
        graphs.update, meta=meta, support=stacked(supports), blocks=one_block_per_user, clip=np.asarray(1e9, np.float32)
    )
    assert_close(found, "update", expected)
