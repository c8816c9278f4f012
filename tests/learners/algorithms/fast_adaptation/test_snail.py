"""SNAIL against the paper's layers in torch: causal convolutions by `F.conv1d`, over support and one query at once."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
import torch.nn.functional as F  # noqa: N812
from tests.learners.algorithms.few_shot import LABELS, NO_NOISE, SPEC, VALUES, answers, meta_of, network, rows, values
from tests.learners.toys import assert_trees_close
from torch import Tensor

from tegu.core.data.batch import Batch
from tegu.core.errors import DataError
from tegu.learners import Learner, snail
from tegu.learners.algorithms.fast_adaptation.first_attention import start_by_comparing
from tegu.learners.learner import TorchBatch, TorchTree
from tegu.learners.modules.functional import call

WINDOW, FILTERS = 7, 3  # 8 places with the query: convolutions look back by 1, 2 and 4
LEARNERS = {kind: snail(network(), spec, window=WINDOW, filters=FILTERS)
            for kind, spec in (("classification", SPEC), ("regression", VALUES))}  # fmt: skip


def episode(kind: str, size: int) -> tuple[TorchBatch, TorchBatch]:
    return (values(size, 1), values(3, 2)) if kind == "regression" else (
        rows([i % LABELS for i in range(size)], 1), rows([1, 3, 0], 2)
    )  # fmt: skip


class Layers:
    """The network of Mishra et al. 2018, section 3 and appendix A, on one sequence `[channels, places]`."""

    def __init__(self, meta: TorchTree) -> None:
        self.meta, self.number = meta, 0

    def parameters(self) -> tuple[Tensor, Tensor]:
        number, self.number = self.number, self.number + 1
        return self.meta[f"snail/{number}.weight"], self.meta[f"snail/{number}.bias"]

    def attention(self, x: Tensor, keys: int, size: int) -> Tensor:
        weight, bias = self.parameters()
        query, key, value = torch.split(weight @ x + bias[:, None], [keys, keys, size])
        scores = query.T @ key / math.sqrt(keys)
        scores = scores.masked_fill(torch.ones_like(scores).triu(1).bool(), -math.inf)
        return torch.cat([x, (scores.softmax(1) @ value.T).T])

    def dense(self, x: Tensor, dilation: int) -> Tensor:
        weight, bias = self.parameters()
        now, before = weight[:, : len(x)], weight[:, len(x) :]
        both = F.conv1d(F.pad(x, [dilation, 0])[None], torch.stack([before, now], -1), bias, dilation=dilation)[0]
        return torch.cat([x, both[:FILTERS].tanh() * both[FILTERS:].sigmoid()])

    def __call__(self, x: Tensor) -> Tensor:
        x = self.attention(x, 64, 32)
        for keys in (2 * FILTERS, 4 * FILTERS):
            for dilation in (1, 2, 4):
                x = self.dense(x, dilation)
            x = self.attention(x, keys, keys // 2)
        weight, bias = self.parameters()
        return weight @ x[:, -1] + bias


def by_paper(learner: Learner, meta: TorchTree, support: TorchBatch, x: Tensor) -> Tensor:
    """The output for each query, which ends a sequence of its own."""
    size = learner.spec.outputs
    labels = support.y if learner.spec.kind == "regression" else F.one_hot(support.y.long(), size).float()
    known = torch.cat([call(network(), meta, support.x), labels.reshape(-1, size)], 1)[-WINDOW:]
    asked = F.pad(call(network(), meta, x), [0, size])
    return torch.stack([Layers(meta)(torch.cat([known, one[None]]).T) for one in asked])


@pytest.mark.parametrize("kind", LEARNERS)
@pytest.mark.parametrize("size", [0, 1, 4, 7, 9])
def test_outputs_are_those_of_the_papers_layers(kind: str, size: int) -> None:
    """A longer support than the window is cut to its newest rows."""
    learner, (support, query) = LEARNERS[kind], episode(kind, size)
    meta = meta_of(learner)
    expected = by_paper(learner, meta, support, query.x)
    expected = expected.log_softmax(-1) if kind == "classification" else expected
    torch.testing.assert_close(answers(learner, meta, support, query.x), expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("kind", LEARNERS)
def test_the_update_is_the_gradient_with_and_without_the_support(kind: str) -> None:
    learner, (support, query) = LEARNERS[kind], episode(kind, 4)
    nothing = Batch(*(part[:0] for part in support))
    loss = F.mse_loss if kind == "regression" else F.cross_entropy
    meta = {name: value.requires_grad_() for name, value in meta_of(learner).items()}
    total = sum((loss(by_paper(learner, meta, each, query.x), query.y) for each in (support, nothing)), Tensor([0.0]))
    gradients = torch.autograd.grad(total, list(meta.values()))
    found = learner.update({name: value.detach() for name, value in meta.items()}, support, query, NO_NOISE)
    assert_trees_close(found, dict(zip(meta, gradients, strict=True)), rtol=1e-3, atol=1e-5)


def test_the_order_of_the_support_matters() -> None:
    learner, (support, query) = LEARNERS["classification"], episode("classification", 4)
    meta, other = meta_of(learner), support._replace(x=support.x.flip(0), y=support.y.flip(0))
    found = [answers(learner, meta, each, query.x) for each in (support, other)]
    assert (found[0] - found[1]).abs().max() > 1e-3
    assert not learner.execution.order_invariant


def test_a_window_without_places_is_refused() -> None:
    with pytest.raises(DataError, match="window is 0: expected at least 1"):
        snail(network(), SPEC, window=0)


def test_a_query_attends_to_the_rows_that_are_like_it_before_any_training() -> None:
    """Scores of the first attention: the nearest row's is the largest, the query's own less than a copy's."""
    learner, features = snail(network(), SPEC), 24
    weight, bias = np.zeros((160, features + LABELS), np.float32), np.zeros(160, np.float32)
    first = start_by_comparing(weight, bias, features, 3)
    assert {name: value.shape for name, value in first.items()} == {"weight": weight.shape, "bias": bias.shape}
    rng = np.random.default_rng(0)
    rows_of_user = rng.standard_normal((LABELS, features)).astype(np.float32)
    labelled = np.hstack([rows_of_user, np.eye(LABELS, dtype=np.float32)])
    asked = np.hstack([rows_of_user, np.zeros((LABELS, LABELS), np.float32)])
    query, key = (asked @ first["weight"][:64].T + first["bias"][:64], labelled @ first["weight"][64:128].T)
    scores = query @ key.T / 8
    assert (scores.argmax(1) == np.arange(LABELS)).all()
    own = (query * (asked @ first["weight"][64:128].T)).sum(1) / 8
    np.testing.assert_allclose(scores.diagonal() - own, 6, rtol=1e-3)
    entry = learner.init(0)["snail/0.weight"]
    np.testing.assert_array_equal(entry[:64, :-LABELS], entry[64:128, :-LABELS])
