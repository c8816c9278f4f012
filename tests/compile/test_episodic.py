"""Graphs of learners that read a support as a sequence, at numbers of rows that they were not traced with."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from tests.compile.running import NO_NOISE, knobs, run
from tests.learners.algorithms.few_shot import SPEC, meta_of, network, rows

from tegu.compile import compile_cohort, compile_learner
from tegu.core.data.batch import Batch
from tegu.learners import Learner, matching_networks, snail

pytestmark = pytest.mark.slow
LEARNERS = {
    "full_context": matching_networks(network(), SPEC, full_context=True, looks=2),
    "snail": snail(network(), SPEC, window=4, filters=2),
}


@pytest.mark.parametrize("name", LEARNERS)
def test_graphs_give_what_torch_gives(name: str) -> None:
    learner: Learner = LEARNERS[name]
    graphs, meta = compile_learner(learner), meta_of(learner)
    arrays = {key: value.numpy() for key, value in meta.items()}
    for count in (1, 3, 30):
        support, query = rows([i % 4 for i in range(count)]), rows([0, 1, 2], 7)
        given = Batch(*(part.numpy() for part in support))
        found = run(graphs["adapt"], meta=arrays, support=given, knob=knobs(learner))
        state = {key.removeprefix("state."): value for key, value in found.items()}
        output = run(graphs["predict"], meta=arrays, state=state, x=query.x.numpy())["output"]
        expected = learner.predict(meta, learner.adapt(meta, support, learner.knobs, NO_NOISE), query.x)
        np.testing.assert_allclose(output, expected.numpy(), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("name", LEARNERS)
def test_they_have_graphs_over_users(name: str) -> None:
    """The compiler compares them with torch, user by user."""
    graphs = compile_cohort(LEARNERS[name])
    assert graphs.summed_update is not None
    assert torch.isinf(torch.tensor(graphs.summed_update_rows))
