"""The inner loop, against torch.optim."""

from __future__ import annotations

import functools

import numpy as np
import pytest
import torch
from tests.learners.toys import (
    NO_NOISE,
    SPEC,
    assert_trees_close,
    defaults,
    meta_of,
    minus,
    mlp,
    rows,
    trained,
)

from tegu.core.errors import UnknownNameError
from tegu.learners import reptile

SGD, ADAM = torch.optim.SGD, torch.optim.Adam
OPTIMISERS = [
    pytest.param({}, functools.partial(SGD, lr=0.3), id="sgd"),
    pytest.param({"momentum": 0.9}, functools.partial(SGD, lr=0.3, momentum=0.9), id="momentum"),
    pytest.param({"inner": "adam"}, functools.partial(ADAM, lr=0.3, eps=1e-4), id="adam"),
]


@pytest.mark.parametrize("steps", [0, 1, 7])
@pytest.mark.parametrize(("options", "optimiser"), OPTIMISERS)
def test_adapt_is_torch_optim(options, optimiser, steps):
    model = mlp()
    learner = reptile(model, SPEC, steps=steps, lr=0.3, **options, init="fresh")
    meta, support = meta_of(learner), rows(6)
    found = learner.adapt(meta, support, learner.knobs, NO_NOISE)
    assert_trees_close(found, trained(model, meta, optimiser, [support] * steps))


@pytest.mark.parametrize(("options", "optimiser"), OPTIMISERS)
def test_only_adapted_parameters_change(options, optimiser):
    model = mlp()
    learner = reptile(model, SPEC, adapted_parameters=["2"], steps=4, lr=0.3, **options, init="fresh")
    meta, support = meta_of(learner), rows(6)
    found = learner.adapt(meta, support, learner.knobs, NO_NOISE)
    assert set(found) == {"2.weight", "2.bias"} == set(learner.adapted_parameters)
    assert_trees_close(found, trained(model, meta, optimiser, [support] * 4, adapted="2"))


def test_knobs_given_to_adapt_replace_the_defaults():
    model = mlp()
    learner = reptile(model, SPEC, steps=2, lr=0.1, init="fresh")
    meta, support = meta_of(learner), rows(6)
    found = learner.adapt(meta, support, defaults(learner, steps=3, lr=0.7), NO_NOISE)
    assert_trees_close(found, trained(model, meta, functools.partial(SGD, lr=0.7), [support] * 3))


@pytest.mark.parametrize(("count", "prior"), [(1, 4.0), (6, 4.0), (6, 0.0)])
def test_the_prior_counts_as_a_number_of_interactions(count, prior):
    model = mlp()
    learner = reptile(model, SPEC, steps=3, lr=0.4, prior=prior, init="fresh")
    meta, support = meta_of(learner), rows(count, padding=5)
    real = rows(count + 5)
    real = real._replace(x=support.x[:count], y=support.y[:count], mask=support.mask[:count])
    expected = trained(model, meta, functools.partial(SGD, lr=0.4 * count / (count + prior)), [real] * 3)
    assert_trees_close(learner.adapt(meta, support, learner.knobs, NO_NOISE), expected)


def test_without_rows_nothing_changes():
    learner = reptile(mlp(), SPEC, steps=3, prior=0.0, init="fresh")
    meta = meta_of(learner)
    assert_trees_close(learner.adapt(meta, rows(0, padding=4), learner.knobs, NO_NOISE), meta, rtol=0, atol=0)


def test_minibatches_take_turns_and_share_the_labels():
    model = mlp()
    learner = reptile(model, SPEC, steps=5, lr=0.3, minibatches=3, init="fresh")
    meta, support, query = meta_of(learner), rows(7), rows(4, seed=1)
    x, y = torch.cat([support.x, query.x]), torch.cat([support.y, query.y])
    order = torch.tensor(np.argsort(y.numpy(), kind="stable"))
    parts = [rows(1)._replace(x=x[order[i % 3 :: 3]], y=y[order[i % 3 :: 3]]) for i in range(5)]
    expected = trained(model, meta, functools.partial(SGD, lr=0.3), parts)
    assert_trees_close(learner.update(meta, support, query, NO_NOISE), minus(meta, expected))


def test_minibatches_are_used_in_training_only():
    meta = meta_of(reptile(mlp(), SPEC, init="fresh"))
    model = mlp()
    whole, parted = (reptile(model, SPEC, minibatches=count, init="fresh") for count in (1, 3))
    results = [learner.adapt(meta, rows(6), learner.knobs, NO_NOISE) for learner in (whole, parted)]
    assert_trees_close(results[1], results[0], rtol=0, atol=0)


def test_an_unknown_inner_optimiser():
    with pytest.raises(UnknownNameError, match=r"no inner optimiser is called 'adm'. Did you mean 'adam'\?"):
        reptile(mlp(), SPEC, inner="adm", init="fresh")


def test_minibatches_of_fewer_rows_than_parts_leave_parameters_as_they_are_in_steps_without_rows():
    model = mlp()
    learner = reptile(model, SPEC, steps=3, lr=0.3, minibatches=3, init="fresh")
    meta, support = meta_of(learner), rows(1)
    query = rows(1, seed=1)
    parts = [support, query]  # the third step has no row
    expected = trained(model, meta, functools.partial(SGD, lr=0.3), parts)
    assert_trees_close(learner.update(meta, support, query, NO_NOISE), minus(meta, expected))
