"""Settings of a baseline, chosen for each number of interactions on users that are not held out.

With cross-fitting, training users are calibration users too. Then a fifth of them, by a hash of their names, tunes, and
the others fit what is tuned. Once a setting is chosen, it is fitted to all training users.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cache
from typing import TypeAlias, TypeVar

import numpy as np

from tegu.core.calibration.assignment import uniform_draw
from tegu.core.metrics import Metric
from tegu.sim.data.population import Population
from tegu.sim.data.trials import draw_trials
from tegu.sim.engine.predictions import Method, score

__all__ = ["Classical", "for_every_k", "tune_per_k", "tuning_users"]

Classical: TypeAlias = Callable[[Population, Population], Callable[[int], Method]]
"""(training users, calibration users) -> k -> method. With cross-fitting both are the same users."""

Setting = TypeVar("Setting")

_SEED = 0  # of the trials, and of the hash that divides training users
_SHARE = 0.2  # of training users that tune, if no others do


def for_every_k(method: Method) -> Callable[[int], Method]:
    """The same method at every k: for a baseline with nothing to tune."""
    return lambda k: method


def tuning_users(train: Population, calibration: Population) -> tuple[Population, Population]:
    """Disjoint users: those that fit a setting, and those that judge it.

    They are `train` and `calibration`, unless both share users.
    """
    if not np.isin(calibration.users, train.users).any():
        return train, calibration
    judges = np.asarray([uniform_draw(_SEED, str(name)) < _SHARE for name in train.users])
    if judges.all() or not judges.any():  # a handful of users
        judges = np.arange(len(train)) % 2 == 0
    return train.subset(np.flatnonzero(~judges)), train.subset(np.flatnonzero(judges))


def tune_per_k(
    train: Population,
    calibration: Population,
    settings: Sequence[Setting],
    fit: Callable[[Population, Setting], Method],
    metric: Metric,
) -> Callable[[int], Method]:
    """The method with the best mean metric of tuning users at each k, fitted to all training users.

    Held-out users have no part in it. At a k for which no tuning user has enough rows, the setting is that of the
    largest smaller k that some have rows for.

    Args:
        train: training users.
        calibration: users that tune, or `train` itself; see `tuning_users`.
        settings: what is tried. Of equally good ones the first is taken.
        fit: from users and a setting to a method. Each setting is fitted at most once to either set of users.
        metric: that is to be best.
    """
    fitting, judging = tuning_users(train, calibration)
    largest = int(judging.max_support.max())

    @cache
    def tried(index: int) -> Method:
        return fit(fitting, settings[index])

    @cache
    def fitted(index: int) -> Method:
        return tried(index) if fitting is train else fit(train, settings[index])

    @cache
    def chosen(k: int) -> int:
        if len(settings) == 1 or largest < 1:
            return 0
        trials = draw_trials(judging, min(k, largest), _SEED)
        means = [float(score(tried(index), trials, metric).mean()) for index in range(len(settings))]
        signed = np.nan_to_num(np.asarray(means) * (1 if metric.higher_is_better else -1), nan=-np.inf)
        return int(signed.argmax())

    return lambda k: fitted(chosen(k))
