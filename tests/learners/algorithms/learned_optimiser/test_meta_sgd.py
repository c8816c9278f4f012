"""Meta-SGD against a loop in plain torch."""

from __future__ import annotations

import pytest
from tests.learners.algorithms.plain_networks import (
    KINDS,
    assert_sums,
    loss_of,
    network,
    plain,
    rows_of,
    slopes,
    variables,
)
from tests.learners.toys import NO_NOISE, assert_trees_close

from tegu.learners import meta_sgd

LR = 0.3


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("steps", [1, 3])
def test_initialisation_and_step_sizes_follow_the_query(kind, steps):
    learner = meta_sgd(network(), KINDS[kind], steps=steps, lr=LR)
    meta, support, query = variables(learner), rows_of(kind, 5, 1), rows_of(kind, 4, 2)
    names = learner.adapted_parameters
    theta = {name: meta[name] for name in names}
    for _ in range(steps):
        gradient = slopes(loss_of(kind, theta, support), theta, names)
        theta = {name: theta[name] - LR * meta[f"{name}/lr_factor"] * gradient[name] for name in names}
    expected = slopes(loss_of(kind, theta, query), meta, list(meta))
    assert any(name.endswith("/lr_factor") and value.abs().max() > 1e-3 for name, value in expected.items())
    assert_trees_close(learner.update(plain(meta), support, query, NO_NOISE), expected)
    state = learner.adapt(plain(meta), support, learner.knobs, NO_NOISE)
    assert_trees_close(state, {name: theta[name].detach() for name in names})


def test_the_update_of_many_users_is_the_sum():
    learner = meta_sgd(network(), KINDS["classification"], lr=LR)
    assert_sums(learner, plain(variables(learner)), "classification")


def test_a_step_may_go_up_the_gradient():
    learner = meta_sgd(network(), KINDS["regression"], lr=LR)
    meta, support = plain(variables(learner)), rows_of("regression", 5, 1)
    backwards = {name: -value if name.endswith("/lr_factor") else value for name, value in meta.items()}
    there, back = (learner.adapt(each, support, learner.knobs, NO_NOISE) for each in (meta, backwards))
    assert_trees_close({n: there[n] - meta[n] for n in there}, {n: meta[n] - back[n] for n in there})
