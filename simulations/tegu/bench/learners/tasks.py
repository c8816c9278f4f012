"""The tasks that learners are compared on: experiments, with one and five shots."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from types import MappingProxyType
from typing import Any, NamedTuple

from tegu.core.errors import DataError
from tegu.sim.experiments.catalogue import experiment_with
from tegu.sim.experiments.experiment import Experiment

__all__ = ["TASKS", "Request", "build_task"]

TASKS: Mapping[str, tuple[int, ...]] = {"sine": (1, 5), "omniglot": (5, 25), "movielens": (1, 5)}
"""By name of the experiment, the interactions of one and of five shots. Omniglot has five classes a task by default."""


class Request(NamedTuple):
    """One learner on one task.

    Attributes:
        task: a name in `TASKS`.
        learner: a name in `LEARNERS`, or the task's own learner's.
        seed: of the run.
        rounds: of training; None for what the learner recommends.
        omniglot: options of that experiment, such as `data`, its folder, `ways` and `episodes`.
    """

    task: str
    learner: str
    seed: int = 0
    rounds: int | None = None
    omniglot: Mapping[str, Any] = MappingProxyType({})


def build_task(request: Request) -> Experiment:
    """Build the experiment with the learner, evaluated at one and five shots.

    Raises:
        DataError: the task needs data that are not given, or the learner does not suit it.
        TeguError: as the experiment.
    """
    build = experiment_with(request.task, request.omniglot if request.task == "omniglot" else {})
    experiment = build(seed=request.seed, rounds=request.rounds).with_learner(request.learner)
    if experiment.learner.name != request.learner:
        raise DataError(f"{request.task} was built for {experiment.learner.name}: expected {request.learner}")
    if request.task == "omniglot":  # one and five shots are its own
        return experiment
    plan = replace(experiment.plan, calibration=replace(experiment.plan.calibration, ks=TASKS[request.task]))
    return replace(experiment, plan=plan)
