"""Matching networks against easyfsl, and a loop written from the paper."""

from __future__ import annotations

import torch
import torch.nn.functional as F  # noqa: N812
from tests.learners.algorithms.few_shot import NO_NOISE, SPEC, WIDTH, answers, meta_of, network, peer, rows
from tests.learners.toys import assert_trees_close
from torch import Tensor, nn

from tegu.learners import matching_networks
from tegu.learners.algorithms.metric.full_context import query_in_context, support_in_context
from tegu.learners.learner import TorchBatch, TorchTree
from tegu.learners.modules.functional import call

PLAIN = matching_networks(network(), SPEC)
CONTEXT = matching_networks(network(), SPEC, full_context=True, looks=7)
SUPPORT, QUERY = rows([0, 2, 1, 3, 2, 0, 0]), rows([1, 0, 2, 3, 3], 1)


def loss_of_paper(meta: TorchTree, support: TorchBatch, query: TorchBatch) -> Tensor:
    """Equation 1 of Vinyals et al. 2016, row by row."""
    embed, losses = network(), []
    for x, y in zip(query.x, query.y.tolist(), strict=True):
        cosines = [
            F.cosine_similarity(call(embed, meta, x[None]), call(embed, meta, each[None]))[0] for each in support.x
        ]
        attention = torch.stack(cosines).softmax(0)
        losses.append(
            -torch.stack([a for a, label in zip(attention, support.y, strict=True) if label == y]).sum().log()
        )
    return torch.stack(losses).mean()


def test_the_update_is_the_gradient_of_the_papers_loss() -> None:
    meta = {name: value.requires_grad_() for name, value in meta_of(PLAIN).items()}
    gradients = torch.autograd.grad(loss_of_paper(meta, SUPPORT, QUERY), list(meta.values()))
    found = PLAIN.update({name: value.detach() for name, value in meta.items()}, SUPPORT, QUERY, NO_NOISE)
    assert_trees_close(found, dict(zip(meta, gradients, strict=True)), rtol=1e-3, atol=1e-5)


class Nothing(nn.Module):
    """In place of an LSTM: adds nothing to embeddings."""

    def forward(self, x: Tensor, state: tuple[Tensor, ...] = ()) -> tuple[Tensor, Tensor]:
        return (x.new_zeros(1, x.shape[1], 2 * WIDTH), x) if not state else (torch.zeros_like(state[0]), state[1])


def easyfsl(meta: TorchTree, **encoders: nn.Module) -> nn.Module:
    embed = network()
    embed.load_state_dict({name: value for name, value in meta.items() if "/" not in name})
    method = peer("MatchingNetworks")(embed, feature_dimension=WIDTH, **encoders)
    method.eval()
    return method


def test_predictions_without_context_are_those_of_easyfsl() -> None:
    meta = meta_of(PLAIN)
    method = easyfsl(meta, support_encoder=Nothing(), query_encoder=Nothing())
    method.backbone = nn.Sequential(method.backbone, _UnitLength())  # easyfsl leaves the query's length as it is
    with torch.no_grad():
        method.process_support_set(SUPPORT.x, SUPPORT.y)
        expected = method(QUERY.x)
    torch.testing.assert_close(answers(PLAIN, meta, SUPPORT, QUERY.x), expected, rtol=1e-4, atol=1e-4)


class _UnitLength(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return F.normalize(x)


def test_embeddings_in_context_are_those_of_easyfsl() -> None:
    """easyfsl looks at the support as often as it has rows, here 7."""
    meta = meta_of(CONTEXT)
    method = easyfsl(meta)
    support, query = method.support_features_encoder, method.query_features_encoding_cell
    for module, prefix in ((support, "context/support/"), (query, "context/query/")):
        module.load_state_dict({n.removeprefix(prefix): v for n, v in meta.items() if n.startswith(prefix)})
    embedded = [call(network(), meta, each) for each in (SUPPORT.x, QUERY.x)]
    with torch.no_grad():
        expected = method.encode_support_features(embedded[0])
        method.contextualized_support_features = expected
        expected_query = method.encode_query_features(embedded[1])
    found = support_in_context(meta, embedded[0], SUPPORT.mask)
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-5)
    found = query_in_context(meta, embedded[1], expected, SUPPORT.mask, 7)
    torch.testing.assert_close(found, expected_query, rtol=1e-4, atol=1e-5)
    cosine = F.normalize(expected_query) @ F.normalize(expected).T
    by_label = cosine.softmax(-1) @ F.one_hot(SUPPORT.y).float()
    torch.testing.assert_close(answers(CONTEXT, meta, SUPPORT, QUERY.x).exp(), by_label, rtol=1e-4, atol=1e-5)


def test_context_depends_on_the_order_and_plain_attention_does_not() -> None:
    shuffled = SUPPORT._replace(x=SUPPORT.x.flip(0), y=SUPPORT.y.flip(0))
    for learner, same in ((PLAIN, True), (CONTEXT, False)):
        meta = meta_of(learner)
        found, other = (answers(learner, meta, each, QUERY.x) for each in (SUPPORT, shuffled))
        assert torch.allclose(found, other, atol=1e-5) is same
        assert learner.execution.order_invariant is same
