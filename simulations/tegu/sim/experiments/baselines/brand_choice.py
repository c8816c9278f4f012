"""A statistician's model of choices: a logit of the inputs, a person's own frequencies and the last choice.

The score of a class is its log-probability under a multinomial logit of training users' rows, plus a multiple of the
logarithm of how much more often the person chose it than the logit expects, plus a constant for the last choice
(Guadagni and Little 1983, "A Logit Model of Brand Choice Calibrated on Scanner Data", with loyalty).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import product
from typing import NamedTuple

import numpy as np
import torch
from torch import nn

from tegu.core.data.batch import Array
from tegu.core.metrics import METRICS
from tegu.core.sampling.trials import Trial, Trials
from tegu.sim.data.population import Population
from tegu.sim.engine.predictions import Method
from tegu.sim.evaluation.baselines.tuning import tune_per_k

__all__ = ["brand_choice"]


class _Setting(NamedTuple):
    """Weight of the own frequencies, pseudo-rows that shrink them, weight of the last choice, and of decay."""

    frequencies: float
    pseudo_rows: float
    last: float
    weight_decay: float


_SETTINGS = tuple(
    _Setting(*each) for each in product((0.5, 1.0, 1.5), (0.5, 1.0, 2.0, 4.0), (0.0, 0.5, 1.0), (0.01, 0.1))
)
_STEPS = 300


def brand_choice(train: Population, calibration: Population) -> Callable[[int], Method]:
    """Fit the logit to training users; tune the weights for each k."""
    fitted: dict[tuple[int, float], Callable[[Array], Array]] = {}

    def fit(users: Population, setting: _Setting) -> Method:
        key = (id(users), setting.weight_decay)
        if key not in fitted:
            fitted[key] = _logit(users, setting.weight_decay)
        base = fitted[key]

        def predict(trials: Trials) -> Sequence[Array]:
            return [_scores(base, trial, setting) for trial in trials.trials]

        return predict

    return tune_per_k(train, calibration, _SETTINGS, fit, METRICS["accuracy"])


def _scores(base: Callable[[Array], Array], trial: Trial, setting: _Setting) -> Array:
    """Log-probabilities `[rows, classes]` of the query, up to a constant for each row."""
    expected = np.exp(base(trial.support.x)).mean(0)
    counts = np.bincount(trial.support.y, minlength=len(expected))
    own = (counts + setting.pseudo_rows * expected) / (counts.sum() + setting.pseudo_rows)
    last = np.eye(len(expected))[trial.support.y[-1]]
    scores: Array = base(trial.query.x) + setting.frequencies * np.log(own / expected) + setting.last * last
    return scores


def _logit(users: Population, weight_decay: float) -> Callable[[Array], Array]:
    """Multinomial logit of standardised inputs, fitted to all rows; it gives log-probabilities `[rows, classes]`."""
    x, y = users.all_rows()
    mean, deviation = x.mean(0), x.std(0) + 1e-6
    layer = nn.Linear(x.shape[1], users.spec.outputs)
    nn.init.zeros_(layer.weight)
    nn.init.zeros_(layer.bias)
    inputs, targets = torch.from_numpy((x - mean) / deviation), torch.from_numpy(y)
    optimiser = torch.optim.AdamW(layer.parameters(), lr=0.03, weight_decay=weight_decay)
    for _ in range(_STEPS):
        optimiser.zero_grad()
        loss = nn.functional.cross_entropy(layer(inputs), targets)
        loss.backward()  # type: ignore[no-untyped-call] # torch's own
        optimiser.step()

    def predict(rows: Array) -> Array:
        with torch.no_grad():
            found: Array = torch.log_softmax(layer(torch.from_numpy((rows - mean) / deviation)), -1).numpy()
        return found

    return predict
