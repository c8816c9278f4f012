"""What an attack costs: the same training without it, with the plain mean under attack, and with a robust rule.

Everybody adapts with the learner's own knobs. No schedule is calibrated, so that the figures are those of training.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import NamedTuple

from tegu.compile import compile_learner
from tegu.core.errors import FederationError
from tegu.core.sampling.trials import user_scores
from tegu.server.progress import Progress
from tegu.server.replies.aggregation import Aggregation, check_aggregation
from tegu.server.training.plan import TrainingPlan, UpdatePlan
from tegu.sim.attacks.attack import Attack
from tegu.sim.data.population import Split
from tegu.sim.data.trials import draw_trials
from tegu.sim.engine import Engine, make_engine
from tegu.sim.engine.predictions import adapt_and_predict
from tegu.sim.experiments.experiment import Experiment
from tegu.sim.run import supported_ks
from tegu.sim.training.automatic import with_fitting_cohort
from tegu.sim.training.cross_fitting import split_population
from tegu.sim.training.in_process import train_in_process

__all__ = ["AttackComparison", "AttackResult", "compare_attack"]

_NOT_CLIPPED = UpdatePlan(clip=math.inf)


class AttackResult(NamedTuple):
    """One training.

    Attributes:
        name: of the training, such as "signflip, median".
        metric: mean over held-out users; None if the training failed.
        why: why the training failed; empty if it did not.
    """

    name: str
    metric: float | None
    why: str = ""


class AttackComparison(NamedTuple):
    """All trainings, and how they were measured.

    Attributes:
        metric: name of the metric.
        k: interactions that held-out users adapt on.
        users: number of held-out users.
        results: without attack first, then under attack with the plain mean, the mean with checks, and the rule.
    """

    metric: str
    k: int
    users: int
    results: tuple[AttackResult, ...]


def compare_attack(
    experiment: Experiment, attack: Attack, rules: Sequence[str], progress: Progress
) -> AttackComparison:
    """Train without attack and under attack, and measure each on held-out users.

    Under attack, the plain mean runs without the server's clip, as an undefended server would. The mean "with a clip"
    and the rules run with the adaptive clip that is the default of a federation.

    Args:
        experiment: users, learner and plan.
        attack: what false users do.
        rules: names of robust aggregations.
        progress: receives stages and rounds.

    Raises:
        UnknownNameError: no such aggregation.
        PopulationError: too few users for the split or the cohort.
    """
    checked = [check_aggregation(rule) for rule in rules]
    calibration = replace(experiment.plan.calibration, folds=0)
    plan = replace(experiment.plan, calibration=calibration)
    plan = with_fitting_cohort(plan, experiment.learner.recommended, experiment.population)
    split = split_population(experiment.population, plan)
    _, k = supported_ks(plan.calibration.ks, split)
    progress.stage(f"{experiment.learner.name}: compiling graphs")
    engine = make_engine(experiment.learner, compile_learner(experiment.learner), "onnx")
    arms: list[tuple[str, Attack | None, UpdatePlan]] = [
        ("no attack, mean", None, _NOT_CLIPPED),
        (f"{attack.name}, mean", attack, _NOT_CLIPPED),
        (f"{attack.name}, mean with a clip", attack, UpdatePlan(clip="adaptive")),
        *((f"{attack.name}, {rule}", attack, _robust(rule)) for rule in checked if rule != "mean"),
    ]
    results = [
        _result(name, experiment, engine, split, replace(plan, updates=updates), own, k, progress)
        for name, own, updates in arms
    ]
    return AttackComparison(experiment.metric.name, k, len(split.heldout), tuple(results))


def _robust(rule: Aggregation) -> UpdatePlan:
    return UpdatePlan(clip="adaptive", aggregation=rule)


def _result(
    name: str,
    experiment: Experiment,
    engine: Engine,
    split: Split,
    plan: TrainingPlan,
    attack: Attack | None,
    k: int,
    progress: Progress,
) -> AttackResult:
    progress.stage(name)
    try:
        trained = train_in_process(
            engine, split.train, experiment.learner.init(plan.seed), plan, progress=progress, attack=attack
        )
    except FederationError as error:
        return AttackResult(name, None, why=str(error))
    trials = draw_trials(split.heldout, k, plan.seed + 1)
    outputs = adapt_and_predict(engine, trained.meta, engine.manifest.knobs, trials).outputs
    return AttackResult(name, float(user_scores(trials, outputs, experiment.metric).mean()))
