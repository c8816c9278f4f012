"""Padding has no effect, whatever its values."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.learners.toys import (
    ITEMS,
    NO_NOISE,
    SPEC,
    Factors,
    assert_trees_close,
    meta_of,
    mlp,
    rows,
)

from tegu.core.data.spec import Spec
from tegu.learners import fedavg, fedsgd, reptile

MODEL = mlp()
WHOLE = reptile(MODEL, SPEC, steps=3, lr=0.3, prior=2.0, init="fresh")
LEARNERS = {
    "whole": WHOLE,
    "partial": reptile(MODEL, SPEC, adapted_parameters=["2"], steps=2, lr=0.3, momentum=0.5, init="fresh"),
    "adam": reptile(MODEL, SPEC, steps=2, inner="adam", init="fresh"),
    "fedsgd": fedsgd(MODEL, WHOLE),
    "fedavg": fedavg(MODEL, WHOLE),
}


@pytest.mark.parametrize("name", LEARNERS)
@settings(max_examples=15, deadline=None)
@given(support=st.integers(1, 6), query=st.integers(1, 6), padding=st.tuples(st.integers(0, 5), st.integers(0, 5)))
def test_padding_a_user_changes_nothing(name, support, query, padding):
    learner = LEARNERS[name]
    meta = meta_of(learner)
    padded = rows(support, 1, padding[0]), rows(query, 2, padding[1])
    plain = tuple(
        batch._replace(x=batch.x[:real], y=batch.y[:real], mask=batch.mask[:real])
        for batch, real in zip(padded, (support, query), strict=True)
    )
    states = [learner.adapt(meta, batch, learner.knobs, NO_NOISE) for batch in (padded[0], plain[0])]
    assert_trees_close(*states)
    updates = [learner.update(meta, *pair, NO_NOISE) for pair in (padded, plain)]
    assert_trees_close(*updates)
    outputs = [learner.predict(meta, states[1], pair[1].x)[:query] for pair in (padded, plain)]
    torch.testing.assert_close(*outputs)


@pytest.mark.parametrize("adapted_parameters", [None, ["user"]], ids=["whole", "partial"])
def test_padding_a_ranking_user_changes_nothing(adapted_parameters):
    learner = reptile(Factors(), Spec.ranking(ITEMS), adapted_parameters=adapted_parameters, steps=3, init="fresh")
    meta = meta_of(learner)
    ids = torch.tensor([3, 5, 8, 0, 0])
    padded = rows(3)._replace(x=ids, y=torch.ones(5), mask=torch.tensor([1.0, 1, 1, 0, 0]))
    plain = padded._replace(x=ids[:3], y=torch.ones(3), mask=torch.ones(3))
    query = plain._replace(x=torch.tensor([1, 0, 2]))
    assert_trees_close(
        learner.adapt(meta, padded, learner.knobs, NO_NOISE), learner.adapt(meta, plain, learner.knobs, NO_NOISE)
    )
    updates = [learner.update(meta, support, query, NO_NOISE) for support in (padded, plain)]
    assert_trees_close(*updates)
    assert any(value.any() for value in updates[0].values())
