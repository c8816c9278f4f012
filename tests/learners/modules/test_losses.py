"""Losses per row, by name and from callables."""

from __future__ import annotations

import math

import pytest
import torch
import torch.nn.functional as F  # noqa: N812
from tests.learners.toys import FEATURES, ITEMS, NO_NOISE, SPEC, Factors, meta_of, mlp, rows

from tegu.core.data.batch import Batch
from tegu.core.data.spec import Spec
from tegu.core.errors import DataError, UnknownNameError
from tegu.learners import reptile
from tegu.learners.modules.functional import Applied
from tegu.learners.modules.losses import LOSSES, find_loss, masked_mean


def applied(model):
    return Applied(model, dict(model.named_parameters()))


def test_cross_entropy_is_torchs():
    model, batch = mlp(), rows(6)
    found = LOSSES["cross_entropy"](SPEC)(applied(model), batch, None)
    torch.testing.assert_close(found, F.cross_entropy(model(batch.x), batch.y, reduction="none"))


def test_squared_error_averages_over_targets():
    model, batch = mlp(2), rows(6)._replace(y=torch.randn(6, 2))
    found = find_loss(None, Spec.regression((FEATURES,), 2))(applied(model), batch, None)
    torch.testing.assert_close(found, ((model(batch.x) - batch.y) ** 2).mean(1))


@pytest.mark.parametrize("seen", [None, [2, 7]])
def test_click_softmax_is_over_unseen_items_and_weighted(seen):
    model, batch = Factors(), Batch(torch.tensor([1, 4, 3]), torch.tensor([1.0, 0.5, 148.0]), torch.ones(3))
    before = None if seen is None else Batch(torch.tensor([*seen, 5]), torch.ones(3), torch.tensor([1.0, 1, 0]))
    scores = model(torch.arange(ITEMS)).detach()
    if seen is not None:
        scores[seen] = -torch.inf
    confidence = torch.tensor([1.0, 0.5, 1 + math.log(148)])
    expected = -(torch.softmax(scores, 0)[batch.x].log() * confidence)
    torch.testing.assert_close(find_loss(None, Spec.ranking(ITEMS))(applied(model), batch, before), expected)


def test_a_callable_receives_outputs_and_targets():
    model, batch = mlp(), rows(4)
    learner = reptile(model, SPEC, loss=lambda output, y: output.sum(-1) * y, steps=1, lr=0.1, init="fresh")
    meta = meta_of(learner)
    model.load_state_dict(meta)
    (model(batch.x).sum(-1) * batch.y).mean().backward()
    state = learner.adapt(meta, batch, learner.knobs, NO_NOISE)
    for name, parameter in model.named_parameters():
        torch.testing.assert_close(state[name], meta[name] - 0.1 * parameter.grad)


def test_the_mean_is_over_real_rows():
    batch = rows(2, padding=3)
    mean = masked_mean(lambda apply, batch, seen: torch.tensor([1.0, 3, 50, 60, 70]), applied(mlp()), batch)
    assert mean == 2
    nothing = batch._replace(mask=torch.zeros(5))
    assert masked_mean(lambda apply, batch, seen: torch.ones(5), applied(mlp()), nothing) == 0


@pytest.mark.parametrize(
    ("loss", "shape"),
    [
        (F.cross_entropy, r"\(\)"),
        (lambda output, y: (output - F.one_hot(y, 3)) ** 2, r"\(4, 3\)"),
    ],
)
def test_a_loss_that_is_not_one_value_a_row(loss, shape):
    learner = reptile(mlp(), SPEC, loss=loss, init="fresh")
    with pytest.raises(
        DataError, match=rf"the loss has shape {shape}: expected one value a row, \(4,\); use reduction"
    ):
        learner.adapt(meta_of(learner), rows(4), learner.knobs, NO_NOISE)


def test_an_unknown_loss():
    with pytest.raises(UnknownNameError, match=r"no loss is called 'crossentropy'. Did you mean 'cross_entropy'\?"):
        reptile(mlp(), SPEC, loss="crossentropy", init="fresh")


def test_click_softmax_needs_items():
    with pytest.raises(DataError, match=r"click_softmax needs item ids as inputs.*use Spec\.ranking\(items\)"):
        reptile(mlp(), SPEC, loss="click_softmax", init="fresh")
