"""Mean losses of rows against torch's."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch.nn import functional

from tegu.core.calibration.nonconformity import inputs_to_score, nonconformity
from tegu.core.data.spec import Spec

RNG = np.random.default_rng(0)


def test_classes() -> None:
    logits, y = 30 * RNG.normal(size=(9, 4)).astype(np.float32), RNG.integers(4, size=9)
    expected = functional.cross_entropy(torch.tensor(logits).double(), torch.tensor(y))
    x = np.zeros((9, 2), np.float32)
    assert nonconformity(Spec.classification((2,), 4), logits, x, y) == pytest.approx(float(expected))
    assert inputs_to_score(Spec.classification((2,), 4), x) is x


def test_numbers() -> None:
    outputs, y = (RNG.normal(size=(9, 3)).astype(np.float32) for _ in range(2))
    expected = functional.mse_loss(torch.tensor(outputs), torch.tensor(y))
    assert nonconformity(Spec.regression((2,), 3), outputs, np.zeros((9, 2)), y) == pytest.approx(float(expected))


def test_a_ranking() -> None:
    scores = 30 * RNG.normal(size=12).astype(np.float32)
    x, y = RNG.integers(12, size=5), RNG.uniform(size=5).astype(np.float32)
    spec = Spec.ranking(12)
    assert inputs_to_score(spec, x).tolist() == list(range(12))
    expected = -(torch.log_softmax(torch.tensor(scores).double(), -1)[torch.tensor(x)] * torch.tensor(y)).mean()
    assert nonconformity(spec, scores, x, y) == pytest.approx(float(expected))


def test_several_labels() -> None:
    logits, y = 30 * RNG.normal(size=(5, 3)).astype(np.float32), RNG.integers(0, 2, (5, 3)).astype(np.float32)
    expected = torch.nn.functional.binary_cross_entropy_with_logits(
        torch.tensor(logits).double(), torch.tensor(y).double()
    )
    assert nonconformity(Spec.multilabel((2,), 3), logits, RNG.normal(size=(5, 2)), y) == pytest.approx(float(expected))
