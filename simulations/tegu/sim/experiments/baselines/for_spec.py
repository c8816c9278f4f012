"""Which classical baselines suit a population, for the built-in experiments and for one's own runs."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from tegu.core.data.spec import Spec
from tegu.sim.evaluation.baselines.tuning import Classical
from tegu.sim.experiments.baselines.als import als
from tegu.sim.experiments.baselines.ease import ease
from tegu.sim.experiments.baselines.item_knn import item_knn
from tegu.sim.experiments.baselines.item_means import item_mean, item_mean_user_bias
from tegu.sim.experiments.baselines.linear_predictor import linear_predictor
from tegu.sim.experiments.baselines.naive_bayes import naive_bayes
from tegu.sim.experiments.baselines.popularity import popularity

__all__ = ["RANKINGS", "RATINGS", "classical_for"]

RANKINGS: Mapping[str, Classical] = MappingProxyType(
    {"als": als, "ease": ease, "item_knn": item_knn, "naive_bayes": naive_bayes, "popularity": popularity}
)
RATINGS: Mapping[str, Classical] = MappingProxyType(
    {"linear_predictor": linear_predictor, "item_mean_user_bias": item_mean_user_bias, "item_mean": item_mean}
)


def classical_for(spec: Spec) -> Mapping[str, Classical]:
    """The classical baselines for rankings of items, or for ratings by item id; none for other tasks."""
    if spec.kind == "ranking":
        return RANKINGS
    return RATINGS if spec.kind == "regression" and spec.items and spec.outputs == 1 else MappingProxyType({})
