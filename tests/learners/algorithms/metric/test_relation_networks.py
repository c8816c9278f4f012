"""Relation networks against easyfsl, and the paper's loss written as a loop."""

from __future__ import annotations

import pytest
import torch
from tests.learners.algorithms.few_shot import LABELS, NO_NOISE, SPEC, WIDTH, answers, meta_of, network, peer, rows
from tests.learners.toys import assert_trees_close
from torch import Tensor, nn

from tegu.core.errors import DataError
from tegu.learners import relation_networks
from tegu.learners.learner import TorchBatch, TorchTree
from tegu.learners.modules.functional import call


def relation() -> nn.Sequential:
    torch.manual_seed(8)
    return nn.Sequential(nn.Linear(2 * WIDTH, 5), nn.Tanh(), nn.Linear(5, 1))


LEARNER = relation_networks(network(), SPEC, relation=relation())
SUPPORT, QUERY = rows([0, 2, 1, 3, 2, 0, 0]), rows([1, 0, 2, 3, 3], 1)


def own(meta: TorchTree) -> TorchTree:
    return {name.removeprefix("relation/"): value for name, value in meta.items() if name.startswith("relation/")}


def test_scores_are_those_of_easyfsl() -> None:
    meta = meta_of(LEARNER)
    embed, compare = network(), relation()
    embed.load_state_dict({name: value for name, value in meta.items() if "/" not in name})
    compare.load_state_dict(own(meta))
    maps = nn.Sequential(embed, nn.Unflatten(1, (WIDTH, 1, 1)))  # easyfsl takes feature maps
    module = nn.Sequential(nn.Flatten(), compare, nn.Sigmoid())
    method = peer("RelationNetworks")(maps, feature_dimension=WIDTH, relation_module=module)
    with torch.no_grad():
        method.process_support_set(SUPPORT.x, SUPPORT.y)
        scores = method(QUERY.x)
    found = answers(LEARNER, meta, SUPPORT, QUERY.x)
    torch.testing.assert_close(found.exp(), scores / scores.sum(-1, keepdim=True), rtol=1e-4, atol=1e-5)


def loss_of_paper(meta: TorchTree, support: TorchBatch, query: TorchBatch) -> Tensor:
    """Equation 2 of Sung et al. 2018, pair by pair; labels without examples have no pair."""
    embed, errors = network(), []
    labels = sorted(set(support.y.tolist()))
    for x, y in zip(query.x, query.y.tolist(), strict=True):
        for label in labels if y in labels else []:
            mean = call(embed, meta, support.x[support.y == label]).mean(0)
            pair = torch.cat([mean, call(embed, meta, x[None])[0]])
            errors.append((call(relation(), own(meta), pair[None]).sigmoid().squeeze() - float(label == y)) ** 2)
    return torch.stack(errors).mean()


@pytest.mark.parametrize("support", [SUPPORT, rows([3, 0, 0], 4)])
def test_the_update_is_the_gradient_of_the_papers_loss(support: TorchBatch) -> None:
    meta = {name: value.requires_grad_() for name, value in meta_of(LEARNER).items()}
    gradients = torch.autograd.grad(loss_of_paper(meta, support, QUERY), list(meta.values()))
    found = LEARNER.update({name: value.detach() for name, value in meta.items()}, support, QUERY, NO_NOISE)
    assert_trees_close(found, dict(zip(meta, gradients, strict=True)), rtol=1e-3, atol=1e-6)


def test_a_relation_module_of_another_shape_is_refused() -> None:
    with pytest.raises(DataError, match=r"float32 of shape \(3, 1\)"):
        relation_networks(network(), SPEC, relation=nn.Linear(2 * WIDTH, LABELS))


def score_of_own_module(weights: TorchTree, label: Tensor, row: Tensor) -> Tensor:
    """The module that is made without `relation=`, of one pair, without `nn.Module`."""
    found = torch.cat([label, row, (label - row).abs()])
    for layer in ("layers.0", "layers.3"):
        found = weights[f"{layer}.weight"] @ found + weights[f"{layer}.bias"]
        found = (found - found.mean()) / (found.var(unbiased=False) + 1e-5).sqrt()
        norm = f"layers.{int(layer[-1]) + 1}"
        found = (found * weights[f"{norm}.weight"] + weights[f"{norm}.bias"]).clamp(min=0)
    return (weights["layers.6.weight"] @ found + weights["layers.6.bias"]).squeeze()


def test_the_own_relation_module_compares_sides_and_difference() -> None:
    learner = relation_networks(network(), SPEC)
    meta = meta_of(learner)
    support, asked = (call(network(), meta, batch.x) for batch in (SUPPORT, QUERY))
    means = [support[SUPPORT.y == label].mean(0) for label in range(LABELS)]
    scores = torch.stack([score_of_own_module(own(meta), mean, row) for row in asked for mean in means])
    scores = scores.sigmoid().reshape(len(asked), LABELS)
    expected = scores / scores.sum(-1, keepdim=True)
    torch.testing.assert_close(answers(learner, meta, SUPPORT, QUERY.x).exp(), expected, rtol=1e-4, atol=1e-5)
    assert expected.std() > 1e-3
