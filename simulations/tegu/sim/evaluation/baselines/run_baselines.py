"""Baselines of a run: other methods for the same users and supports, each tuned for every number of interactions."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import NamedTuple

from tegu.compile import compile_learner
from tegu.learners.learner import Learner
from tegu.server.progress import Progress
from tegu.server.training.plan import TrainingPlan
from tegu.sim.data.population import Population
from tegu.sim.engine import make_engine
from tegu.sim.engine.predictions import Method
from tegu.sim.evaluation.baselines.calibrated import calibrated
from tegu.sim.evaluation.baselines.generic import Start, generic_baselines
from tegu.sim.evaluation.baselines.order import order_baselines
from tegu.sim.evaluation.baselines.tuning import Baselines, Classical
from tegu.sim.run_result import RunResult
from tegu.sim.training.cross_fitting import cross_fit_population
from tegu.sim.training.in_process import Trained, train_in_process

__all__ = ["Compared", "run_baselines"]


class Compared(NamedTuple):
    """What baselines are made from.

    Attributes:
        learner: the learner of the run, with one initialisation.
        initialisations: number of initialisations of the run.
        classical: further baselines by name, made of the training and the calibration users.
        generic: names of the baselines of any module (`generic.GENERIC`) that make sense; None for all that suit the
            kind of task.
    """

    learner: Learner
    initialisations: int = 1
    classical: Mapping[str, Classical] = MappingProxyType({})
    generic: Sequence[str] | None = None


def run_baselines(compared: Compared, run: RunResult, progress: Progress) -> Baselines:
    """Train and tune the baselines of a run.

    Their settings are chosen for each k by the mean metric of users that are not held out, with no limit on harm. The
    mapping starts with the `classical` methods. These follow, where they suit the task and the module is known:

    - `one_initialisation`: the run's learner with one initialisation, calibrated as the run is. Present if the run
      learned several. The next ones start from it.
    - `without_order`, `own_frequencies`, `last_choice`: see `order_baselines`, for a population with an order.
    - `finetuned`: gradient steps from the run's initialisation.
    - `logistic_head`, `ridge_head`: a linear head on the module's features, fitted to the support.
    - `nearest_neighbours`: rows of the support that are near in the module's features, beside the initialisation.
    - `joint`: the module trained in one place by plain SGD on as many examples; not adapted.
    - `joint_finetuned`: gradient steps from there.
    - `local_only`: gradient steps from the first parameters, which no user has trained.

    Args:
        compared: what the run was made from.
        run: the run.
        progress: receives a stage for each baseline, and every round.

    Returns:
        By name, a function from the number of interactions k to a method.

    Raises:
        UnknownNameError: no such generic baseline.
    """
    found: dict[str, Callable[[int], Method]] = {}
    for name, build in compared.classical.items():
        progress.stage(f"{name}: fitted to training users")
        found[name] = build(run.split.train, run.split.calibration)
        for k in run.ks:
            found[name](k)
    start = Start(run, run.learner, run.engine, run.bundle.meta, run.fold_evaluators)
    if compared.initialisations > 1:
        progress.stage("one_initialisation: one initialisation for all users")
        start = _with_one_initialisation(compared.learner, run, progress)
        found["one_initialisation"] = calibrated(start)
    return found | order_baselines(start, progress) | generic_baselines(start, compared.generic, progress)


def _with_one_initialisation(learner: Learner, run: RunResult, progress: Progress) -> Start:
    """Train with the run's plan and folds, without validation."""
    engine = make_engine(learner, compile_learner(learner))

    def train(
        users: Population, validating: Population | None, plan: TrainingPlan, progress: Progress, folder: Path | None
    ) -> Trained:
        del validating, folder  # a baseline is neither validated nor resumed
        return train_in_process(engine, users, learner.init(plan.seed), plan, progress=progress)

    found = cross_fit_population(run.split, run.plan, train, progress)
    return Start(run, learner, engine, found.trained.meta, found.evaluators)
