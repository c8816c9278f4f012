"""Clicks as arrays, and item scores that are blended with popularity: what the baselines of rankings share."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Sequence
from itertools import product
from typing import NamedTuple, TypeAlias, TypeVar

import numpy as np

from tegu.core.data.batch import Array
from tegu.core.data.confidence import confidence
from tegu.core.metrics import METRICS
from tegu.core.sampling.trials import Trials
from tegu.sim.data.population import Population
from tegu.sim.engine.predictions import Method
from tegu.sim.evaluation.baselines.tuning import Judge, choose_per_k, tuning_users

__all__ = ["Scores", "click_matrix", "item_to_item", "shares", "tuned_with_popularity"]

_BLENDS = (0.0, 0.05, 0.15, 0.4, 1.0, 3.0)
_FINALISTS = 4

Scores: TypeAlias = Callable[[Array, Array], Array]
"""(ids of a support, their confidences) -> scores of all items."""

Setting = TypeVar("Setting", bound=Hashable)


class _Blended(NamedTuple):
    """A setting, and the weight of popularity beside it."""

    setting: Hashable
    popularity: float


def click_matrix(users: Population) -> Array:
    """The confidence in each user's feedback on each item, float64 `[users, items]`; repeated clicks count once."""
    clicks = np.zeros((len(users), users.spec.items))
    items, weights = users.all_rows()
    np.maximum.at(clicks, (np.repeat(np.arange(len(users)), users.counts), items), confidence(weights))
    return clicks


def shares(users: Population) -> Array:
    """The number of clicks on each item per user, `[items]`."""
    found: Array = np.bincount(users.all_rows()[0], minlength=users.spec.items) / len(users)
    return found


def item_to_item(weights: Array, offset: Array | float = 0.0) -> Scores:
    """Scores by the sum of the weights `[items, items]` from the items of a support, plus `offset` `[items]`."""

    def scores(items: Array, given: Array) -> Array:
        found: Array = given @ weights[items] + offset
        return found

    return scores


def tuned_with_popularity(
    train: Population,
    calibration: Population,
    settings: Iterable[Setting],
    fit: Callable[[Population, Setting], Scores],
) -> Callable[[int], Method]:
    """Tune a setting and the weight of popularity for each k on users that are not held out.

    The score of an item is that of the method plus a weight times the item's `shares`.

    Args:
        train: training users of a ranking.
        calibration: users that judge, or `train` itself.
        settings: of the method.
        fit: from users and a setting to scores; called once at most for either set of users and a setting.
    """
    fitting, judging = tuning_users(train, calibration)
    fitted: dict[tuple[int, Hashable], tuple[Scores, Array]] = {}

    def method(users: Population, tried: _Blended) -> Method:
        key = (id(users), tried.setting)
        if key not in fitted:
            fitted[key] = fit(users, tried.setting), shares(users)  # type: ignore[arg-type] # a Setting, boxed
        scores, popular = fitted[key]

        def predict(trials: Trials) -> Sequence[Array]:
            supports = (trial.support for trial in trials.trials)
            return [scores(each.x, confidence(each.y)) + tried.popularity * popular for each in supports]

        return predict

    pairs = [_Blended(*pair) for pair in product(settings, _BLENDS)]
    judge: Judge[_Blended] = Judge(judging, lambda tried: method(fitting, tried))
    chosen = choose_per_k([judge], pairs, METRICS["recall@10"], _FINALISTS)
    return lambda k: method(train, chosen(k))
