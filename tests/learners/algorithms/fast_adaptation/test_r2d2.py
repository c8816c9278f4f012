"""R2-D2 against scikit-learn's kernel ridge, and the gradient of torch's own solver."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
import torch.nn.functional as F  # noqa: N812
from sklearn.kernel_ridge import KernelRidge
from tests.learners.algorithms.few_shot import LABELS, NO_NOISE, SPEC, VALUES, answers, meta_of, network, rows, values
from tests.learners.toys import assert_trees_close
from torch import Tensor

from tegu.learners import Learner, r2d2
from tegu.learners.learner import TorchBatch, TorchTree
from tegu.learners.modules.functional import call

LEARNERS = {"classification": r2d2(network(), SPEC), "regression": r2d2(network(), VALUES)}
SIZES = (3, 25)  # fewer rows than features, and more


def episode(kind: str, size: int) -> tuple[TorchBatch, TorchBatch]:
    if kind == "regression":
        return values(size, 1), values(4, 2)
    labels = np.random.default_rng(0).integers(0, LABELS, size + 4).tolist()
    return rows(labels[:size], 1), rows(labels[size:], 2)


def features(meta: TorchTree, x: Tensor) -> Tensor:
    embedded = call(network(), meta, x)
    return torch.cat([embedded / math.sqrt(embedded.shape[1]), torch.ones(len(x), 1)], 1)


def targets(batch: TorchBatch) -> Tensor:
    return batch.y if batch.y.is_floating_point() else F.one_hot(batch.y, LABELS).float()


@pytest.mark.parametrize("kind", LEARNERS)
@pytest.mark.parametrize("size", SIZES)
def test_predictions_are_those_of_kernel_ridge(kind: str, size: int) -> None:
    learner = LEARNERS[kind]
    meta, (support, query) = meta_of(learner), episode(kind, size)
    ridge = KernelRidge(alpha=float(meta["r2d2/log_ridge"].exp()))
    ridge.fit(features(meta, support.x).numpy(), targets(support).numpy())
    found = torch.from_numpy(ridge.predict(features(meta, query.x).numpy())).float()
    expected = meta["r2d2/log_scale"].exp() * found + meta["r2d2/bias"]
    expected = torch.log_softmax(expected, -1) if kind == "classification" else expected
    torch.testing.assert_close(answers(learner, meta, support, query.x), expected, rtol=1e-3, atol=1e-4)


def loss_of_paper(learner: Learner, meta: TorchTree, support: TorchBatch, query: TorchBatch) -> Tensor:
    """Equations 4 and 7 of Bertinetto et al. 2019, in the primal form for any number of rows."""
    x, ridge = features(meta, support.x), meta["r2d2/log_ridge"].exp()
    weights = torch.linalg.solve(x.T @ x + ridge * torch.eye(x.shape[1]), x.T @ targets(support))
    found = meta["r2d2/log_scale"].exp() * features(meta, query.x) @ weights + meta["r2d2/bias"]
    return F.cross_entropy(found, query.y) if learner.spec.kind == "classification" else F.mse_loss(found, query.y)


@pytest.mark.parametrize("kind", LEARNERS)
@pytest.mark.parametrize("size", SIZES)
def test_the_update_is_the_gradient_through_the_solution(kind: str, size: int) -> None:
    learner, (support, query) = LEARNERS[kind], episode(kind, size)
    meta = {name: value.requires_grad_() for name, value in meta_of(learner).items()}
    gradients = torch.autograd.grad(loss_of_paper(learner, meta, support, query), list(meta.values()))
    found = learner.update({name: value.detach() for name, value in meta.items()}, support, query, NO_NOISE)
    assert_trees_close(found, dict(zip(meta, gradients, strict=True)), rtol=2e-3, atol=1e-4)


def test_a_person_without_rows_gets_the_learned_bias() -> None:
    learner = LEARNERS["regression"]
    meta = {**meta_of(learner), "r2d2/bias": torch.tensor([3.0, -1.0])}
    found = answers(learner, meta, values(3), values(4).x, **learner.unadapted)
    torch.testing.assert_close(found, torch.tensor([[3.0, -1.0]]).expand(4, 2))


def test_the_initialisation_does_not_depend_on_the_number_of_labels() -> None:
    sizes = [
        {name: value.shape for name, value in r2d2(network(), type(SPEC).classification((5,), labels)).init(0).items()}
        for labels in (4, 20)
    ]
    assert sizes[0] == sizes[1]
