"""What a learner is shown against: the same model trained and adapted otherwise, on the same users and supports."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TypeAlias

from tegu.compile import compile_learner
from tegu.core.bundle.manifest import Knobs, knobs_for
from tegu.core.errors import FederationError
from tegu.learners.baselines.fedavg import fedavg
from tegu.learners.baselines.fedsgd import fedsgd
from tegu.learners.baselines.local_only import local_only
from tegu.learners.learner import Learner
from tegu.server.progress import Progress
from tegu.server.training.outer_optimiser import OuterRule
from tegu.sim.calibration.calibrate import calibrate
from tegu.sim.data.population import Population
from tegu.sim.engine import Engine, engine_like, make_engine
from tegu.sim.engine.predictions import Method, adapted_predictions
from tegu.sim.experiments.experiment import Experiment
from tegu.sim.run import Run
from tegu.sim.training.cross_fitting import CrossFittedPopulation, Evaluator, cross_fit_population
from tegu.sim.training.in_process import Trained, train_in_process

__all__ = ["Baselines", "comparators"]

Baselines: TypeAlias = Mapping[str, Callable[[int], Method]]


def comparators(experiment: Experiment, run: Run, progress: Progress) -> Baselines:
    """All baselines of an experiment, each from k to a method.

    `one_initialisation` is the experiment's learner as it is, where the run has it several times; `finetuned` adapts
    the run's own initialisation by the gradient steps that it was trained with, where the learner
    adapts otherwise; `fedsgd` is trained with the run's own outer optimiser, rounds and cohort; `fedsgd_finetuned` then
    adapts with a step size calibrated like the learner's; `fedavg` serves as it is, averaged with rate 1, and is left
    out where it diverges; `local_only` shares nothing.

    Args:
        experiment: what was run.
        run: its outcome.
        progress: told what begins, and of every round.
    """
    found = {name: _at_every_k(build(run.split.train)) for name, build in experiment.classical.items()}
    if experiment.initialisations > 1:
        progress.stage("one_initialisation: the same for everybody")
        found["one_initialisation"] = _alone(experiment, run, progress)
    progress.stage("local_only: every user alone")
    like = experiment.learner.gradient_learner or experiment.learner
    engine = run.engine if like is run.learner else make_engine(like, compile_learner(like))
    if (trained := run.learner.gradient_learner) is not None:
        own = engine if trained is like else make_engine(trained, compile_learner(trained))
        found["finetuned"] = _at_every_k(adapted_predictions(own, run.bundle.meta, trained.knobs))
    found["local_only"] = _local(experiment, run, like)
    progress.stage("fedsgd: one gradient step a client a round")
    found |= _fedsgd(experiment, run, like, engine, progress)
    progress.stage("fedavg: local training, averaged")
    return found | _fedavg(experiment, run, like, engine, progress)


def _fedavg(
    experiment: Experiment, run: Run, like: Learner, engine: Engine, progress: Progress
) -> dict[str, Callable[[int], Method]]:
    """FedAvg, or nothing where it diverges: a step size for a few parameters may be too large for all of them."""
    learner = fedavg(experiment.model, like, loss=experiment.loss)
    plan, first = replace(run.plan, outer=OuterRule("SGD", 1.0)), learner.init(run.plan.seed)
    try:
        meta = train_in_process(engine_like(engine, learner), run.split.train, first, plan, progress=progress).meta
    except FederationError as error:
        progress.stage(f"fedavg is left out: it diverges with a step size of {like.knobs['lr']} ({error})")
        return {}
    return {"fedavg": _at_every_k(adapted_predictions(engine, meta, like.unadapted))}


def _alone(experiment: Experiment, run: Run, progress: Progress) -> Callable[[int], Method]:
    learner = experiment.learner
    engine = make_engine(learner, compile_learner(learner))
    found = _fitted(engine, learner, run, progress)
    chosen = _calibrated(engine, found.evaluators, run)
    return lambda k: adapted_predictions(engine, found.trained.meta, chosen[k])


def _at_every_k(method: Method) -> Callable[[int], Method]:
    return lambda k: method


def _fedsgd(
    experiment: Experiment, run: Run, like: Learner, engine: Engine, progress: Progress
) -> dict[str, Callable[[int], Method]]:
    learner = fedsgd(experiment.model, like, loss=experiment.loss)
    engine = engine_like(engine, learner)
    found = _fitted(engine, learner, run, progress)
    meta, chosen = found.trained.meta, _calibrated(engine, found.evaluators, run)
    still = adapted_predictions(engine, meta, like.unadapted)
    return {"fedsgd": _at_every_k(still), "fedsgd_finetuned": lambda k: adapted_predictions(engine, meta, chosen[k])}


def _local(experiment: Experiment, run: Run, like: Learner) -> Callable[[int], Method]:
    learner = local_only(experiment.model, like, loss=experiment.loss)
    engine = make_engine(learner, compile_learner(learner))
    meta = learner.init(run.plan.seed)
    chosen = _calibrated(engine, [Evaluator(meta, run.split.calibration)], run)
    return lambda k: adapted_predictions(engine, meta, chosen[k])


def _fitted(engine: Engine, learner: Learner, run: Run, progress: Progress) -> CrossFittedPopulation:
    """Trained as the run was, its folds too, with nobody looking on."""

    def train(people: Population, looking: Population | None, told: Progress, checkpoints: Path | None) -> Trained:
        del looking, checkpoints  # a baseline is not resumed
        return train_in_process(engine, people, learner.init(run.plan.seed), run.plan, progress=told)

    return cross_fit_population(run.split, run.plan, train, progress)


def _calibrated(engine: Engine, judges: Sequence[Evaluator], run: Run) -> dict[int, Knobs]:
    entries = calibrate(engine, judges, run.ks, run.metric, run.plan.seed)
    manifest = replace(engine.manifest, schedule=entries)
    return {k: knobs_for(manifest, k) for k in run.ks}  # as a device would choose
