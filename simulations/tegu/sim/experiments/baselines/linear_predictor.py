"""The best linear predictor of ratings from other ratings, by means and covariances of the training people's ratings.

With means m and covariances C of items, a person's ratings of items q are predicted from those of items s by

    m[q] + C[q, s] (C[s, s] + ridge I)^-1 (y - m[s])

which is the conditional mean of a normal distribution (Hastie et al. 2009, "The Elements of Statistical Learning").
To fit it, the server must see every person's ratings: it shows what personalisation without privacy achieves.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cache
from typing import NamedTuple

import numpy as np

from tegu.core.data.batch import Array
from tegu.core.metrics import METRICS
from tegu.core.sampling.trials import Trial, Trials
from tegu.sim.data.population import Population
from tegu.sim.engine.predictions import Method
from tegu.sim.evaluation.baselines.tuning import tune_per_k
from tegu.sim.experiments.baselines.item_means import item_means

__all__ = ["Moments", "linear_predictor", "moments_of", "predictor"]

_RIDGES = (0.05, 0.2, 0.5, 1.0, 2.0)  # of the ratings' variance
_STRENGTHS = (0.0, 20.0, 100.0)  # people that rated both items, at which a covariance is halved


class Moments(NamedTuple):
    """Means and covariances of items.

    Attributes:
        means: `[items]`, shrunk as in `item_means`.
        covariances: `[items, items]`, over the people who rated both items.
        pairs: `[items, items]`, how many people rated both.
        variance: of all ratings around their items' means.
    """

    means: Array
    covariances: Array
    pairs: Array
    variance: float


def moments_of(train: Population) -> Moments:
    """Means and covariances of the training people's ratings.

    Args:
        train: training people; the matrices `[people, items]` and `[items, items]` must fit into memory.
    """
    means = item_means(train)
    items, ratings = train.all_rows()
    people = np.repeat(np.arange(len(train)), train.counts)
    rated, residuals = (np.zeros((len(train), train.spec.items)) for _ in range(2))
    rated[people, items] = 1.0
    residuals[people, items] = ratings[:, 0] - means[items]  # of an item that is rated twice, the last rating counts
    pairs = rated.T @ rated
    variance = float(np.square(residuals).sum() / rated.sum())
    return Moments(means, residuals.T @ residuals / pairs.clip(1), pairs, variance)


def linear_predictor(train: Population, calibration: Population) -> Callable[[int], Method]:
    """Predict by the formula above; the ridge and the shrinkage of rare covariances are tuned for each k."""
    moments = cache(moments_of)

    def fit(users: Population, setting: tuple[float, float]) -> Method:
        ridge, strength = setting
        found = moments(users)
        covariances = found.covariances * (found.pairs / (found.pairs + strength).clip(1))
        return predictor(found.means, covariances, ridge * found.variance)

    settings = [(ridge, strength) for ridge in _RIDGES for strength in _STRENGTHS]
    return tune_per_k(train, calibration, settings, fit, METRICS["rmse"])


def predictor(means: Array, covariances: Array, ridge: float) -> Method:
    """Predict by the formula of this file, with means `[items]`, covariances `[items, items]` and the ridge itself."""

    def one(trial: Trial) -> Array:
        own, wanted = trial.support.x, trial.query.x
        matrix = covariances[np.ix_(own, own)] + ridge * np.eye(len(own))
        weights = np.linalg.lstsq(matrix, trial.support.y[:, 0] - means[own], rcond=None)[0]
        predicted: Array = means[wanted] + covariances[np.ix_(wanted, own)] @ weights
        return predicted[:, None]

    def predict(trials: Trials) -> Sequence[Array]:
        return [one(trial) for trial in trials.trials]

    return predict
