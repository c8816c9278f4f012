"""An experiment: users, a model, a learner, a training plan and the baselines to compare with."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from torch import nn

from tegu.core.errors import DataError
from tegu.core.metrics import Metric
from tegu.core.sampling.trials import DRAWS
from tegu.learners.catalogue import NETWORK_FROM_SPEC, find_learner
from tegu.learners.learner import Learner
from tegu.learners.modules.losses import OutputLoss
from tegu.server.training.automatic import settled
from tegu.server.training.plan import TrainingPlan
from tegu.sim.data.population import Population
from tegu.sim.data.streams import Streams
from tegu.sim.engine import EngineKind
from tegu.sim.evaluation.baselines.run_baselines import Compared
from tegu.sim.evaluation.baselines.tuning import Classical

__all__ = ["Experiment"]


@dataclass(frozen=True)
class Experiment:
    """A comparison of one learner with baselines.

    Attributes:
        name: as on the command line.
        population: all users; split by user before training.
        model: the module from which the learner was built; None for a learner that has none.
        learner: the learner to meta-train.
        plan: the training plan. Its `calibration` names the numbers of interactions and the metric of the evaluation.
        loss: the loss of the learner; None for the default of the task.
        options: options of the learner that other learners may take too, such as `adapted_parameters`, `steps`, `lr`.
        classical: the experiment's own baselines by name, made of the training and the calibration users.
        generic: names of the baselines of any module that make sense; None for all (`evaluation.baselines.generic`).
        titles: titles of the items, by id; empty if there are none.
        initialisations: number of initialisations to learn; see `tegu.learners.algorithms.mixture.mixture`.
        streams: interactions of the same users, whose preferences change. If given, strategies of adaptation are
            compared (`tegu.sim.evaluation.drift_replay`) in place of baselines.
        draws: supports of each held-out user at each k.
        further: further held-out users by name, such as the official episodes of a data set. They are evaluated at the
            number of rows of their largest support.
        engine: that is used where no other is asked for; see `tegu.sim.engine.make_engine`.
        rebuild: name of a learner -> the experiment with it, where tasks or plan depend on the learner. None where they
            do not.
    """

    name: str
    population: Population
    model: nn.Module | None
    learner: Learner
    plan: TrainingPlan
    loss: str | OutputLoss | None = None
    options: Mapping[str, Any] = field(default_factory=dict)
    classical: Mapping[str, Classical] = field(default_factory=dict)
    generic: Sequence[str] | None = None
    titles: tuple[str, ...] = ()
    initialisations: int = 1
    streams: Streams | None = None
    draws: int = DRAWS
    further: Mapping[str, Population] = field(default_factory=dict)
    engine: EngineKind = "onnx"
    rebuild: Callable[[str], Experiment] | None = field(default=None, repr=False)

    def __repr__(self) -> str:
        users, rounds = len(self.population), settled(self.plan).rounds
        return f"Experiment({self.name!r}, learner={self.learner.name!r}, users={users}, rounds={rounds})"

    @property
    def metric(self) -> Metric:
        """The metric of the evaluation."""
        return self.plan.calibration.metric_for(self.population.spec)

    @property
    def ks(self) -> tuple[int, ...]:
        """Numbers of interactions to evaluate at."""
        return self.plan.calibration.ks

    @property
    def compared(self) -> Compared:
        """What its baselines are made from."""
        return Compared(self.learner, self.initialisations, self.classical, self.generic)

    def with_learner(self, name: str) -> Experiment:
        """Return the experiment with a learner of the catalogue, or a combination, built from the same model.

        Without a model, learners that need only an embedding make a network from the spec.

        The learner gets those of the experiment's `options` that it has, and its own defaults for the others. For the
        name of its own learner, the experiment returns itself.

        Raises:
            UnknownNameError: no such learner.
            DataError: the experiment has no module, and the learner needs one.
            TeguError: the learner does not suit the model or the spec.
        """
        if name == self.learner.name:
            return self
        build = find_learner(name)
        if self.rebuild is not None:
            return self.rebuild(name)
        if self.model is None and not NETWORK_FROM_SPEC.issuperset(name.split(",")):
            raise DataError(
                f"{self.name} has no module, from which {name} could be built: run it with its own learner, "
                f"{self.learner.name}"
            )
        parameters = inspect.signature(build).parameters.values()
        takes_all = any(each.kind is each.VAR_KEYWORD for each in parameters)
        names = {each.name for each in parameters}
        options = {
            key: value for key, value in {"loss": self.loss, **self.options}.items() if takes_all or key in names
        }
        return replace(self, learner=build(self.model, self.population.spec, **options))
