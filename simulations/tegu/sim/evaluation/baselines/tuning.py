"""Settings of a baseline, chosen for each number of interactions on users that are not held out.

A setting is judged by users that had no part in fitting it. With cross-fitting, training users are calibration users
too. Then a fifth of them, by a hash of their names, judges, and the others fit what is judged. Once a setting is
chosen, it is fitted to all training users. Nobody limits how many users a baseline may make worse.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import cache
from typing import Generic, NamedTuple, TypeAlias, TypeVar

import numpy as np

from tegu.core.calibration.assignment import uniform_draw
from tegu.core.data.batch import Array
from tegu.core.metrics import Metric
from tegu.core.sampling.trials import DRAWS
from tegu.sim.data.population import Population
from tegu.sim.data.trials import draw_trials
from tegu.sim.engine.predictions import Method, score

__all__ = ["Baselines", "Classical", "Judge", "choose_per_k", "for_every_k", "tune_per_k", "tuning_users"]

Baselines: TypeAlias = Mapping[str, Callable[[int], Method]]
"""By name, a function from the number of interactions k to a method."""

Classical: TypeAlias = Callable[[Population, Population], Callable[[int], Method]]
"""(training users, calibration users) -> k -> method. With cross-fitting both are the same users."""

Setting = TypeVar("Setting")

_SEED = 0  # of the trials, and of the hash that divides training users
_SHARE = 0.2  # of training users that judge, if no others do
_TRIALS = 500  # for each k: more users have fewer draws each, and of still more users some do not judge


class Judge(NamedTuple, Generic[Setting]):
    """Users, and the methods that they judge.

    Attributes:
        users: had no part in fitting the methods.
        method: from a setting to a method.
    """

    users: Population
    method: Callable[[Setting], Method]


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
    """The method with the best mean metric of the judges at each k, fitted to all training users.

    Args:
        train: training users.
        calibration: users that judge, or `train` itself; see `tuning_users`.
        settings: what is tried. Of equally good ones the first is taken.
        fit: from users and a setting to a method. Each setting is fitted at most once to either set of users.
        metric: that is to be best.
    """
    fitting, judging = tuning_users(train, calibration)

    @cache
    def tried(index: int) -> Method:
        return fit(fitting, settings[index])

    @cache
    def fitted(index: int) -> Method:
        return tried(index) if fitting is train else fit(train, settings[index])

    chosen = choose_per_k([Judge(judging, tried)], range(len(settings)), metric)
    return lambda k: fitted(chosen(k))


def choose_per_k(
    judges: Sequence[Judge[Setting]], settings: Sequence[Setting], metric: Metric, finalists: int | None = None
) -> Callable[[int], Setting]:
    """The setting with the best mean metric of all judges at each k, whatever it does to single users.

    At a k for which no judge has enough rows, the setting is that of the largest smaller k that some have rows for.

    Args:
        judges: users, with the methods that they judge.
        settings: what is tried. Of equally good ones the first is taken, and a setting that gives NaN never is.
        metric: that is to be best.
        finalists: number of settings that are judged on all draws of the supports, after the first draw has left only
            these. None judges every setting on all draws.
    """
    largest = max(int(judge.users.max_support.max()) for judge in judges)

    def best(k: int, tried: Sequence[Setting], number: int, draws: int) -> list[Setting]:
        if len(tried) <= number:
            return list(tried)
        able = [judge for judge in judges if (judge.users.max_support >= k).any()]
        sums = np.sum([_sums(judge, tried, k, draws, metric, len(able)) for judge in able], axis=0)
        signed = np.nan_to_num(sums * (1 if metric.higher_is_better else -1), nan=-np.inf)
        return [tried[index] for index in sorted(np.argsort(-signed, kind="stable")[:number])]

    @cache
    def chosen(k: int) -> Setting:
        if largest < 1:
            return settings[0]
        k = min(k, largest)
        left = settings if finalists is None else best(k, settings, finalists, 1)
        return best(k, left, 1, DRAWS)[0]

    return chosen


def _sums(judge: Judge[Setting], settings: Sequence[Setting], k: int, draws: int, metric: Metric, judges: int) -> Array:
    """The sum over the judge's users of the metric under each setting, `[settings]`."""
    able = np.flatnonzero(judge.users.max_support >= k)[: -(-_TRIALS // judges)]
    trials = draw_trials(judge.users.subset(able), k, _SEED, max(1, min(draws, _TRIALS // (len(able) * judges))))
    return np.asarray([score(judge.method(setting), trials, metric).sum() for setting in settings])
