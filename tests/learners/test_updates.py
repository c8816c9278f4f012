"""Updates of each learner, against plain torch loops and finite differences."""

from __future__ import annotations

import functools

import pytest
import torch
import torch.nn.functional as F  # noqa: N812
from tests.learners.toys import (
    NO_NOISE,
    SPEC,
    assert_trees_close,
    concatenated,
    meta_of,
    minus,
    mlp,
    rows,
    trained,
)

from tegu.core.errors import UnknownNameError
from tegu.learners import fedavg, fedsgd, find_learner, reptile
from tegu.learners.baselines.local_only import local_only

SUPPORT, QUERY = rows(6), rows(5, seed=1)


def test_reptile_moves_toward_the_parameters_adapted_on_all_rows():
    model = mlp()
    learner = reptile(model, SPEC, steps=4, lr=0.3, momentum=0.5, init="fresh")
    meta = meta_of(learner)
    expected = trained(
        model, meta, functools.partial(torch.optim.SGD, lr=0.3, momentum=0.5), [concatenated(SUPPORT, QUERY)] * 4
    )
    assert_trees_close(learner.update(meta, SUPPORT, QUERY, NO_NOISE), minus(meta, expected))


@pytest.mark.parametrize("inner", ["sgd", "adam"])
def test_partial_reptile_moves_adapted_parameters_toward_those_adapted_on_the_support(inner):
    learner = reptile(mlp(), SPEC, adapted_parameters=["2"], steps=3, lr=0.3, inner=inner, init="fresh")
    meta = meta_of(learner)
    adapted = learner.adapt(meta, SUPPORT, learner.knobs, NO_NOISE)
    update = learner.update(meta, SUPPORT, QUERY, NO_NOISE)
    found = {name: update[name] for name in learner.adapted_parameters}
    assert_trees_close(found, {name: meta[name] - adapted[name] for name in learner.adapted_parameters})


@pytest.mark.parametrize("options", [{}, {"momentum": 0.9}, {"inner": "adam"}], ids=["sgd", "momentum", "adam"])
def test_partial_reptile_moves_other_parameters_along_the_gradient_through_adaptation(options):
    model = mlp()
    learner = reptile(model, SPEC, adapted_parameters=["2"], steps=3, lr=0.3, **options, init="fresh")
    meta = meta_of(learner, dtype=torch.float64)
    support, query = rows(6, dtype=torch.float64), rows(5, seed=1, dtype=torch.float64)

    def query_loss(name, change):
        moved = {**meta, name: meta[name] + change}
        state = learner.adapt(moved, support, learner.knobs, NO_NOISE)
        return F.cross_entropy(learner.predict(moved, state, query.x), query.y)

    update = learner.update(meta, support, query, NO_NOISE)
    for name in ("0.weight", "0.bias"):
        for index in range(meta[name].numel()):
            change = torch.zeros_like(meta[name])
            change.view(-1)[index] = 1e-5
            slope = (query_loss(name, change) - query_loss(name, -change)) / 2e-5
            torch.testing.assert_close(update[name].view(-1)[index], slope, rtol=1e-6, atol=1e-8)


def test_the_gradient_through_adaptation_differs_from_the_first_order_gradient():
    model = mlp()
    learner = reptile(model, SPEC, adapted_parameters=["2"], steps=3, lr=0.5, init="fresh")
    meta = meta_of(learner)
    adapted = {**meta, **learner.adapt(meta, SUPPORT, learner.knobs, NO_NOISE)}
    stopped = minus(adapted, trained(model, adapted, functools.partial(torch.optim.SGD, lr=1.0), [QUERY]))
    update = learner.update(meta, SUPPORT, QUERY, NO_NOISE)
    assert not torch.allclose(update["0.weight"], stopped["0.weight"], rtol=1e-2)


def test_fedsgd_is_one_gradient_on_all_rows():
    model = mlp()
    like = reptile(model, SPEC, steps=4, init="fresh")
    learner = fedsgd(model, like)
    meta = meta_of(learner)
    step = trained(model, meta, functools.partial(torch.optim.SGD, lr=1.0), [concatenated(SUPPORT, QUERY)])
    assert_trees_close(learner.update(meta, SUPPORT, QUERY, NO_NOISE), minus(meta, step))
    assert learner.name == "fedsgd"
    assert learner.adapt is like.adapt


def test_fedavg_trains_every_parameter_whatever_adapts():
    model = mlp()
    learner = fedavg(model, reptile(model, SPEC, adapted_parameters=["2"], steps=4, lr=0.3, init="fresh"))
    meta = meta_of(learner)
    expected = trained(model, meta, functools.partial(torch.optim.SGD, lr=0.3), [concatenated(SUPPORT, QUERY)] * 4)
    assert_trees_close(learner.update(meta, SUPPORT, QUERY, NO_NOISE), minus(meta, expected))
    assert learner.name == "fedavg"


def test_local_only_adapts_everything_and_shares_nothing():
    model = mlp()
    learner = local_only(model, reptile(model, SPEC, adapted_parameters=["2"], steps=3, lr=0.3, init="fresh"))
    meta = meta_of(learner)
    expected = trained(model, meta, functools.partial(torch.optim.SGD, lr=0.3), [SUPPORT] * 3)
    assert_trees_close(learner.adapt(meta, SUPPORT, learner.knobs, NO_NOISE), expected)
    assert not any(value.any() for value in learner.update(meta, SUPPORT, QUERY, NO_NOISE).values())


def test_predict_puts_the_state_in_place_of_the_initialisation():
    model = mlp()
    learner = reptile(model, SPEC, adapted_parameters=["2"], init="fresh")
    meta = meta_of(learner)
    state = {name: meta[name] + 1 for name in learner.adapted_parameters}
    model.load_state_dict({**meta, **state})
    torch.testing.assert_close(learner.predict(meta, state, QUERY.x), model(QUERY.x))


def test_learners_by_name():
    assert find_learner("reptile") is reptile
    with pytest.raises(UnknownNameError, match=r"no learner is called 'Reptil'. Did you mean 'reptile'\?"):
        find_learner("Reptil")


def test_the_gradient_through_adam_is_finite_where_nothing_has_a_gradient():
    learner = reptile(mlp(), SPEC, adapted_parameters=["2"], steps=2, inner="adam", init="fresh")
    update = learner.update(meta_of(learner), rows(0, padding=3), QUERY, NO_NOISE)
    assert all(torch.isfinite(value).all() for value in update.values())
    assert update["0.weight"].any()
