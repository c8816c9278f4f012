"""Training through residual correction, against the same losses written with torch's own solver."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F  # noqa: N812
from tests.learners.toys import NO_NOISE, assert_trees_close
from torch import Tensor, nn

from tegu.compile import compile_cohort
from tegu.core.data.batch import Batch
from tegu.core.data.spec import Spec
from tegu.learners.algorithms.residual_correction import residual_correction
from tegu.learners.learner import Learner, TorchTree
from tegu.learners.modules.functional import call

SPECS = {"classification": Spec.classification((3,), 4), "regression": Spec.regression((3,), 2)}


def batch(kind: str, count: int, seed: int) -> Batch[Tensor]:
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn(count, 3, generator=generator)
    y = torch.randint(4, (count,), generator=generator) if kind == "classification" else x[:, :2] * 2 + 1
    return Batch(x, y, torch.ones(count))


def network(kind: str) -> nn.Sequential:
    torch.manual_seed(1)
    return nn.Sequential(nn.Linear(3, 8), nn.Tanh(), nn.Linear(8, SPECS[kind].outputs))


def meta_of(learner: Learner) -> TorchTree:
    return {name: torch.from_numpy(value).requires_grad_() for name, value in learner.init(0).items()}


def expected_loss(model: nn.Module, meta: TorchTree, kind: str, support: Batch[Tensor], query: Batch[Tensor]) -> Tensor:
    def features(x: Tensor) -> Tensor:
        return F.normalize(torch.tanh(x @ meta["0.weight"].T + meta["0.bias"]), dim=-1)

    inside, across = features(support.x) @ features(support.x).T, features(query.x) @ features(support.x).T
    start = call(model, meta, support.x)
    if kind == "regression":
        weights = torch.linalg.solve(inside + 0.1 * torch.eye(len(start)), support.y - start)
    else:
        weights = iterated(inside, start, F.one_hot(support.y, 4).float())
    corrected = call(model, meta, query.x) + across @ weights
    x, y = torch.cat([support.x, query.x]), torch.cat([support.y, query.y])
    loss = F.cross_entropy if kind == "classification" else F.mse_loss
    return loss(call(model, meta, x), y) + loss(corrected, query.y)


def iterated(kernel: Tensor, start: Tensor, targets: Tensor) -> Tensor:
    """Five accelerated steps of logistic regression, which an inverse that is held constant directs."""
    inverse = torch.linalg.inv(kernel.detach() / 2 + 0.1 * torch.eye(len(start)))
    weights = ahead = torch.zeros_like(start)
    for number in range(5):
        slope = (start + kernel @ ahead).softmax(-1) - targets + 0.1 * ahead
        old, weights = weights, ahead - inverse @ slope
        ahead = weights + number / (number + 3) * (weights - old)
    return weights


@pytest.mark.parametrize("kind", SPECS)
def test_the_update_is_the_gradient_of_both_losses(kind: str) -> None:
    model = network(kind)
    learner = residual_correction(model, SPECS[kind], through=True)
    meta, support, query = meta_of(learner), batch(kind, 5, 1), batch(kind, 4, 2)
    names = list(meta)
    gradients = torch.autograd.grad(expected_loss(model, meta, kind, support, query), [meta[name] for name in names])
    plain = {name: value.detach() for name, value in meta.items()}
    found = learner.update(plain, support, query, NO_NOISE)
    assert_trees_close(found, dict(zip(names, gradients, strict=True)))


def test_the_summed_update_is_the_sum_and_padding_has_no_effect() -> None:
    learner = residual_correction(network("classification"), SPECS["classification"], through=True)
    meta = {name: value.detach() for name, value in meta_of(learner).items()}
    pairs = [(batch("classification", 5, seed), batch("classification", 4, seed + 9)) for seed in (1, 2)]
    each = [learner.update(meta, support, query, NO_NOISE) for support, query in pairs]
    supports, queries = (Batch(*map(torch.stack, zip(*side, strict=True))) for side in zip(*pairs, strict=True))
    assert learner.execution.summed_update is not None
    found = learner.execution.summed_update.compute(meta, supports, queries, NO_NOISE)
    assert_trees_close(found, {name: each[0][name] + each[1][name] for name in found})
    padded = Batch(*(torch.cat([a, b]) for a, b in zip(pairs[0][0], batch("classification", 3, 7), strict=True)))
    padded = Batch(padded.x, padded.y, torch.tensor([1.0] * 5 + [0.0] * 3))
    assert_trees_close(learner.update(meta, padded, pairs[0][1], NO_NOISE), each[0])


def test_fixed_parameters_have_no_update() -> None:
    model = network("regression")
    model[0].requires_grad_(False)
    learner = residual_correction(model, SPECS["regression"], through=True)
    meta = {name: value.detach() for name, value in meta_of(learner).items()}
    assert set(learner.update(meta, batch("regression", 5, 1), batch("regression", 4, 2), NO_NOISE)) == {
        "2.weight",
        "2.bias",
    }


def test_it_compiles_over_users() -> None:
    """The compiler compares the graphs with torch, user by user. Without them a simulation runs user by user."""
    learner = residual_correction(network("classification"), SPECS["classification"], through=True)
    assert compile_cohort(learner).summed_update is not None
