"""What an experiment is: users, a model, how it is trained, and what it is shown against."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from torch import nn

from tegu.core.metrics import Metric
from tegu.learners.learner import Learner
from tegu.learners.modules.losses import OutputLoss
from tegu.sim.data.population import Population
from tegu.sim.data.streams import Streams
from tegu.sim.engine.predictions import Method
from tegu.sim.training.in_process import TrainingPlan

__all__ = ["Experiment"]


@dataclass(frozen=True)
class Experiment:
    """One comparison of a learner with what it is measured against.

    Attributes:
        name: as on the command line.
        population: everyone; split by user before anything is learned.
        model: the module the learner was built from.
        learner: what is meta-trained, so many times as `initialisations` says.
        plan: how.
        ks: numbers of interactions to judge at.
        metric: what to judge by.
        loss: as the learner's.
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
    ks: tuple[int, ...]
    metric: Metric
    loss: str | OutputLoss | None = None
    classical: Mapping[str, Callable[[Population], Method]] = field(default_factory=dict)
    titles: tuple[str, ...] = ()
    initialisations: int = 1
    streams: Streams | None = None

    def describe(self) -> dict[str, Any]:
        """Its settings, for the manifest and the report."""
        return {
            "experiment": self.name,
            "rounds": self.plan.rounds,
            "cohort": self.plan.cohort,
            "seed": self.plan.seed,
            "outer": self.plan.outer.name,
            "outer_lr": self.plan.outer.lr,
            "knobs": dict(self.learner.knobs),
        }
