"""What an experiment is: users, a model, how it is trained, and what it is shown against."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from torch import nn

from tegu.core.metrics import Metric
from tegu.learners.catalogue import find_learner
from tegu.learners.learner import Learner
from tegu.learners.modules.losses import OutputLoss
from tegu.server.training.plan import TrainingPlan
from tegu.sim.data.population import Population
from tegu.sim.data.streams import Streams
from tegu.sim.engine.predictions import Method

__all__ = ["Experiment"]


@dataclass(frozen=True)
class Experiment:
    """One comparison of a learner with what it is measured against.

    Attributes:
        name: as on the command line.
        population: everyone; split by user before anything is learned.
        model: the module the learner was built from.
        learner: what is meta-trained, so many times as `initialisations` says.
        plan: how; its `calibration` says at which numbers of interactions to judge, and by which metric.
        loss: as the learner's.
        options: of the learner that another learner takes as well, such as `fast`, `steps` and `lr`.
        classical: the experiment's own baselines: from the training users, a method; it may use a trial's support.
        titles: names of items, by id, where there are any.
        initialisations: how many are learned; see `tegu.learners.algorithms.mixture.mixture`.
        streams: of the same users, whose taste changes. Where there are any, ways to follow them are compared
            (`tegu.sim.evaluation.drift_replay`), and no other learners.
    """

    name: str
    population: Population
    model: nn.Module
    learner: Learner
    plan: TrainingPlan
    loss: str | OutputLoss | None = None
    options: Mapping[str, Any] = field(default_factory=dict)
    classical: Mapping[str, Callable[[Population], Method]] = field(default_factory=dict)
    titles: tuple[str, ...] = ()
    initialisations: int = 1
    streams: Streams | None = None

    @property
    def metric(self) -> Metric:
        """What to judge by."""
        return self.plan.calibration.metric_for(self.population.spec)

    @property
    def ks(self) -> tuple[int, ...]:
        """Numbers of interactions to judge at."""
        return self.plan.calibration.ks

    def with_learner(self, name: str) -> Experiment:
        """The experiment with another learner of the catalogue, built from the same model; itself for its own.

        Of the experiment's `options` the learner gets those that it has; everything else is its default.

        Raises:
            UnknownNameError: no such learner.
            TeguError: the learner does not suit the model or the spec.
        """
        build = find_learner(name)
        if name == self.learner.name:
            return self
        known = inspect.signature(build).parameters.values()
        takes_all = any(each.kind is each.VAR_KEYWORD for each in known)
        names = {each.name for each in known}
        options = {
            key: value for key, value in {"loss": self.loss, **self.options}.items() if takes_all or key in names
        }
        return replace(self, learner=build(self.model, self.population.spec, **options))
