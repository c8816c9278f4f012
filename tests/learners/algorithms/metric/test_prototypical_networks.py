"""Prototypical networks against easyfsl, scikit-learn, and a loop written from the paper."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from sklearn.neighbors import NearestCentroid
from tests.learners.algorithms.few_shot import NO_NOISE, SPEC, answers, meta_of, network, peer, rows
from tests.learners.toys import assert_trees_close
from torch import Tensor

from tegu.core.data.spec import Spec
from tegu.core.errors import DataError
from tegu.learners import prototypical_networks
from tegu.learners.learner import TorchBatch, TorchTree
from tegu.learners.modules.functional import call

LEARNER = prototypical_networks(network(), SPEC)
SUPPORT, QUERY = rows([0, 2, 1, 3, 2, 0, 0]), rows([1, 0, 2, 3, 3], 1)


def test_predictions_are_those_of_easyfsl() -> None:
    meta = meta_of(LEARNER)
    embed = network()
    embed.load_state_dict(meta)
    method = peer("PrototypicalNetworks")(embed)
    method.process_support_set(SUPPORT.x, SUPPORT.y)
    distances = method(QUERY.x)  # easyfsl takes the distance itself, the paper its square
    expected = torch.log_softmax(-distances.square(), -1)
    torch.testing.assert_close(answers(LEARNER, meta, SUPPORT, QUERY.x), expected, rtol=1e-4, atol=1e-5)


def test_labels_are_those_of_the_nearest_centroid() -> None:
    meta, x = meta_of(LEARNER), rows(list(range(4)) * 25, 5).x
    embed = [call(network(), meta, each).detach().numpy() for each in (SUPPORT.x, x)]
    expected = NearestCentroid().fit(embed[0], SUPPORT.y.numpy()).predict(embed[1])
    found = answers(LEARNER, meta, SUPPORT, x).argmax(-1).numpy()
    np.testing.assert_array_equal(found, expected)
    assert len(set(expected)) > 1


def loss_of_paper(meta: TorchTree, support: TorchBatch, query: TorchBatch) -> Tensor:
    """Algorithm 1 of Snell et al. 2017, row by row."""
    embed = network()
    labels = sorted(set(support.y.tolist()))
    prototypes = {k: torch.stack([call(embed, meta, x[None])[0] for x, y in zip(support.x, support.y, strict=True)
                                  if y == k]).mean(0) for k in labels}  # fmt: skip
    losses = []
    for x, y in zip(query.x, query.y.tolist(), strict=True):
        if y in labels:
            distances = {k: (call(embed, meta, x[None])[0] - prototypes[k]).square().sum() for k in labels}
            losses.append(distances[y] + torch.stack([-each for each in distances.values()]).logsumexp(0))
    return torch.stack(losses).mean()


@pytest.mark.parametrize("support", [SUPPORT, rows([3, 0, 0], 4)])
def test_the_update_is_the_gradient_of_the_papers_loss(support: TorchBatch) -> None:
    meta = {name: value.requires_grad_() for name, value in meta_of(LEARNER).items()}
    gradients = torch.autograd.grad(loss_of_paper(meta, support, QUERY), list(meta.values()))
    plain = {name: value.detach() for name, value in meta.items()}
    found = LEARNER.update(plain, support, QUERY, NO_NOISE)
    assert_trees_close(found, dict(zip(meta, gradients, strict=True)), rtol=1e-3, atol=1e-5)


def test_a_label_without_examples_is_never_the_most_likely() -> None:
    found = answers(LEARNER, meta_of(LEARNER), rows([3, 1]), QUERY.x)
    assert set(found.argmax(-1).tolist()) <= {1, 3}
    torch.testing.assert_close(found[:, [0, 2]].exp(), torch.full((5, 2), 0.005))


def test_weights_of_rows_weigh_in_the_mean() -> None:
    meta, twice = meta_of(LEARNER), rows([0, 1, 0])
    weighted = twice._replace(mask=torch.tensor([1.0, 1.0, 0.5]))
    state = LEARNER.adapt(meta, weighted, LEARNER.knobs, NO_NOISE)
    embedded = call(network(), meta, twice.x)
    torch.testing.assert_close(state["prototypes"][0], (embedded[0] + 0.5 * embedded[2]) / 1.5)
    torch.testing.assert_close(state["counts"], torch.tensor([1.5, 1.0, 0.0, 0.0]))


def test_prior_prototypes_count_as_examples() -> None:
    learner = prototypical_networks(network(), SPEC, prior_count=2.0)
    meta = meta_of(learner)
    embedded, prior = call(network(), meta, rows([0]).x)[0], meta["prior/prototypes"]
    state = learner.adapt(meta, rows([0]), learner.knobs, NO_NOISE)
    torch.testing.assert_close(state["prototypes"][0], (2 * prior[0] + embedded) / 3)
    torch.testing.assert_close(state["prototypes"][1], prior[1])
    nobody = answers(learner, meta, rows([0]), QUERY.x, **learner.unadapted)
    expected = torch.log_softmax(-torch.cdist(call(network(), meta, QUERY.x), prior).square(), -1)
    torch.testing.assert_close(nobody, expected, rtol=1e-4, atol=1e-5)


def test_a_negative_count_is_refused() -> None:
    with pytest.raises(DataError, match="prior_count is -1: expected at least 0"):
        prototypical_networks(network(), SPEC, prior_count=-1)


def test_the_initialisation_does_not_depend_on_the_number_of_labels() -> None:
    more = prototypical_networks(network(), Spec.classification((5,), 20))
    meta = {name: torch.from_numpy(value) for name, value in more.init(0).items()}
    assert {name: value.shape for name, value in meta.items()} == {
        name: value.shape for name, value in LEARNER.init(0).items()
    }
    assert answers(LEARNER, meta, SUPPORT, QUERY.x).shape == (5, 4)
