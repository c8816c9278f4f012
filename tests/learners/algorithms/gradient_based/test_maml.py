"""MAML and FOMAML against loops in plain torch, and MAML's meta-gradient against finite differences."""

from __future__ import annotations

import pytest
import torch
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
from tests.learners.toys import NO_NOISE, assert_trees_close, meta_of
from torch import nn

from tegu.core.data.batch import Batch
from tegu.core.data.spec import Spec
from tegu.core.errors import DataError, UnknownNameError
from tegu.learners import fomaml, maml

STEPS, LR = 3, 0.4


def stepped(kind, meta, names, support, *, create_graph=True):
    """Gradient descent as the paper writes it."""
    theta = dict(meta)
    for _ in range(STEPS):
        gradient = slopes(loss_of(kind, theta, support), theta, names, create_graph=create_graph)
        theta = theta | {name: theta[name] - LR * gradient[name] for name in names}
    return theta


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("adapted", [None, ["2"]], ids=["whole", "head"])
def test_maml_follows_the_gradient_through_its_steps(kind, adapted):
    learner = maml(network(), KINDS[kind], adapted_parameters=adapted, steps=STEPS, lr=LR)
    meta, support, query = variables(learner), rows_of(kind, 5, 1), rows_of(kind, 4, 2)
    theta = stepped(kind, meta, learner.adapted_parameters, support)
    expected = slopes(loss_of(kind, theta, query), meta, list(meta))
    assert_trees_close(learner.update(plain(meta), support, query, NO_NOISE), expected)
    state = learner.adapt(plain(meta), support, learner.knobs, NO_NOISE)
    assert_trees_close(state, {name: theta[name].detach() for name in learner.adapted_parameters})


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("adapted", [None, ["2"]], ids=["whole", "head"])
def test_fomaml_takes_the_gradient_at_the_adapted_parameters(kind, adapted):
    learner = fomaml(network(), KINDS[kind], adapted_parameters=adapted, steps=STEPS, lr=LR)
    meta, support, query = variables(learner), rows_of(kind, 5, 1), rows_of(kind, 4, 2)
    theta = stepped(kind, meta, learner.adapted_parameters, support, create_graph=False)
    leaves = {name: value.detach().requires_grad_() for name, value in theta.items()}
    expected = slopes(loss_of(kind, leaves, query), leaves, list(leaves))
    assert_trees_close(learner.update(plain(meta), support, query, NO_NOISE), expected)


def test_the_meta_gradient_of_maml_is_that_of_finite_differences():
    learner = maml(network(), KINDS["regression"], steps=STEPS, lr=LR)
    first_order = fomaml(network(), KINDS["regression"], steps=STEPS, lr=LR)
    meta = meta_of(learner, dtype=torch.float64)
    support, query = (rows_of("regression", *each, dtype=torch.float64) for each in ((5, 1), (4, 2)))

    def query_loss(name, change):
        moved = {**meta, name: meta[name] + change}
        state = learner.adapt(moved, support, learner.knobs, NO_NOISE)
        return loss_of("regression", {**moved, **state}, query)

    update, other = (each.update(meta, support, query, NO_NOISE) for each in (learner, first_order))
    for name, value in meta.items():
        for index in range(value.numel()):
            change = torch.zeros_like(value)
            change.view(-1)[index] = 1e-5
            slope = (query_loss(name, change) - query_loss(name, -change)) / 2e-5
            torch.testing.assert_close(update[name].view(-1)[index], slope, rtol=1e-6, atol=1e-8)
    assert max(float((update[name] - other[name]).abs().max()) for name in meta) > 0.01


@pytest.mark.parametrize("build", [maml, fomaml])
def test_the_update_of_many_users_is_the_sum(build):
    learner = build(network(), KINDS["classification"], steps=2, lr=LR)
    assert_sums(learner, plain(variables(learner)), "classification")


@pytest.mark.parametrize("build", [maml, fomaml])
def test_a_table_that_adapts_by_rows_has_the_gradient_of_a_whole_one(build):
    class Personal(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.items, self.offsets = nn.Embedding(64, 4), nn.Embedding(64, 1)
            self.user = nn.Parameter(torch.randn(4))

        def forward(self, ids):
            return (self.items(ids) @ self.user).unsqueeze(-1) + self.offsets(ids)

    torch.manual_seed(0)
    model = Personal()
    learner = build(model, Spec.regression((), items=64), steps=2)
    meta = {name: value.detach().requires_grad_() for name, value in model.named_parameters()}
    support, query = (
        Batch(torch.tensor(ids), torch.arange(3.0).unsqueeze(-1), torch.ones(3)) for ids in ([1, 5, 5], [5, 2, 1])
    )

    def loss(tree, batch):
        scores = tree["items.weight"][batch.x] @ tree["user"] + tree["offsets.weight"][batch.x, 0]
        return (scores - batch.y[:, 0]).square().mean()

    theta = dict(meta)
    for _ in range(2):
        gradient = slopes(loss(theta, support), theta, list(theta))
        if build is fomaml:
            gradient = plain(gradient)
        theta = {name: theta[name] - 0.1 * gradient[name] for name in theta}
    expected = slopes(loss(theta, query), meta, list(meta))
    assert "items.weight/rows" in learner.adapt(plain(meta), support, learner.knobs, NO_NOISE)
    assert_trees_close(learner.update(plain(meta), support, query, NO_NOISE), expected)


def test_fixed_parameters_get_no_update_and_keep_their_values():
    model = network()
    model[0].weight.requires_grad_(False)
    learner = maml(model, KINDS["classification"])
    assert learner.fixed_parameters == ("0.weight",)
    update = learner.update(
        meta_of(learner), rows_of("classification", 5, 1), rows_of("classification", 4, 2), NO_NOISE
    )
    assert sorted(update) == ["0.bias", "2.bias", "2.weight"]
    torch.testing.assert_close(torch.from_numpy(learner.init(3)["2.weight"]), model[2].weight.detach())


@pytest.mark.parametrize("build", [maml, fomaml])
def test_what_does_not_fit_is_refused_in_words(build):
    with pytest.raises(DataError, match="matches no parameter"):
        build(network(), KINDS["classification"], adapted_parameters=["absent"])
    with pytest.raises(UnknownNameError, match="'sdg'"):
        build(network(), KINDS["classification"], inner="sdg")
