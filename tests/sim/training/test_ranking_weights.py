"""Play counts as weights of a ranking: training converges, and weights of 1 change no bit."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from tegu.core.data.spec import Spec
from tegu.core.data.tree import Tree
from tegu.core.errors import FederationError
from tegu.learners.modules import losses
from tegu.server.training.calibration_plan import CalibrationPlan
from tegu.server.training.plan import TrainingPlan
from tegu.sim import Population, Run, simulate

ITEMS, USERS = 40, 60
RNG = np.random.default_rng(0)
TASTE = RNG.normal(size=(USERS, 2)) @ RNG.normal(size=(2, ITEMS)) + 2 * RNG.normal(size=ITEMS)
CHOSEN = np.argsort(-(TASTE + RNG.gumbel(size=TASTE.shape)), 1)[:, :15]
PLAYS = np.minimum(np.exp(RNG.normal(5, 1.3, CHOSEN.shape)).astype(int) + 1, 11_068)  # median 148
PLAN = TrainingPlan(calibration=CalibrationPlan(ks=(2,), folds=0))  # its choice is not looked at


class Factors(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.items, self.user = nn.Embedding(ITEMS, 4), nn.Parameter(torch.zeros(4))

    def reset_parameters(self) -> None:
        nn.init.normal_(self.user, std=0.1)

    def forward(self, ids: Tensor) -> Tensor:
        return self.items(ids) @ self.user


def run(weights: np.ndarray, rounds: int) -> Run:
    population = Population.from_arrays(
        CHOSEN.reshape(-1), weights.reshape(-1), np.repeat(np.arange(USERS), CHOSEN.shape[1]), Spec.ranking(ITEMS)
    )
    return simulate(population, Factors(), rounds=rounds, cohort=12, init="fresh", plan=PLAN)


def popularity_gap(meta: Tree) -> float:
    """How far the scores' softmax is from the items' shares of all confidence, in nats."""
    scores = meta["items.weight"].astype(np.float64) @ meta["user"]
    shares = np.bincount(CHOSEN.reshape(-1), (1 + np.log(PLAYS)).reshape(-1), ITEMS) + 1e-9
    shares /= shares.sum()
    return float((shares * (np.log(shares) - scores + np.logaddexp.reduce(scores))).sum())


def test_training_on_play_counts_converges(monkeypatch: pytest.MonkeyPatch) -> None:
    assert (np.median(PLAYS), PLAYS.max()) == (pytest.approx(148, abs=15), pytest.approx(11_068, rel=0.5))
    before, after = (popularity_gap(run(PLAYS, rounds).bundle.meta) for rounds in (1, 20))
    assert after < 0.5 * before
    monkeypatch.setattr(losses, "click_confidence", lambda weights: weights)
    with pytest.raises(FederationError, match="training diverged: the update of"):
        run(PLAYS, 20)


def test_weights_of_one_change_no_bit(monkeypatch: pytest.MonkeyPatch) -> None:
    ones = np.ones_like(PLAYS)
    found = run(ones, 3).bundle.meta
    monkeypatch.setattr(losses, "click_confidence", lambda weights: weights)
    plain = run(ones, 3).bundle.meta
    assert all(found[name].tobytes() == plain[name].tobytes() for name in plain)
