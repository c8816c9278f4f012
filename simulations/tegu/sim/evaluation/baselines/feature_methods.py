"""Methods that adapt by a module's features: their settings are chosen for each k."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple, TypeAlias, TypeVar

from torch import nn

from tegu.core.data.batch import Array
from tegu.core.data.spec import Kind
from tegu.core.data.tree import Tree
from tegu.core.metrics import Metric
from tegu.core.sampling.trials import Trials
from tegu.sim.data.population import Population
from tegu.sim.engine.predictions import Method
from tegu.sim.evaluation.baselines.module_features import Prepared, prepare, row_features
from tegu.sim.evaluation.baselines.tuning import Judge, choose_per_k
from tegu.sim.training.cross_fitting import Evaluator

__all__ = ["Features", "adapted_by_features", "module_features"]

Setting = TypeVar("Setting")
_Prepare: TypeAlias = Callable[[Trials], Prepared]


class Features(NamedTuple):
    """Features under parameters for held-out users, and under those of each evaluator for its own users."""

    own: _Prepare
    judges: Sequence[tuple[Population, _Prepare]]

    def __repr__(self) -> str:
        return f"Features(judges={len(self.judges)})"


def module_features(module: nn.Module, meta: Tree, evaluators: Sequence[Evaluator]) -> Features:
    """The module's features under `meta`, and under each evaluator's parameters.

    Args:
        module: a checked module.
        meta: parameters for held-out users.
        evaluators: parameters, with users that had no part in training them.
    """
    return Features(
        _last_remembered(module, meta), [(each.population, _last_remembered(module, each.meta)) for each in evaluators]
    )


def _last_remembered(module: nn.Module, meta: Tree) -> _Prepare:
    """`prepare` for these parameters; the last trials are remembered, since many settings are tried on them."""
    features = row_features(module, meta)
    last: list[tuple[Trials, Prepared]] = []

    def of(trials: Trials) -> Prepared:
        if not last or last[0][0] is not trials:
            last[:] = [(trials, prepare(trials, features))]
        return last[0][1]

    return of


def adapted_by_features(
    features: Features,
    settings: Sequence[Setting],
    outputs: Callable[[Prepared, Setting, Kind], Sequence[Array]],
    metric: Metric,
) -> Callable[[int], Method]:
    """The method whose setting is best for the evaluators' users at each k.

    Args:
        features: of the module.
        settings: what is tried.
        outputs: from prepared trials, a setting and the kind of the task to the outputs of each trial's query.
        metric: that is to be best.
    """

    def methods(prepared: _Prepare) -> Callable[[Setting], Method]:
        return lambda setting: lambda trials: outputs(prepared(trials), setting, trials.spec.kind)

    chosen = choose_per_k([Judge(users, methods(each)) for users, each in features.judges], settings, metric)
    own = methods(features.own)
    return lambda k: own(chosen(k))
