"""Baselines: the same model, trained and adapted by other methods on the same users and supports."""

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

__all__ = ["Baselines", "run_baselines"]

Baselines: TypeAlias = Mapping[str, Callable[[int], Method]]


def run_baselines(experiment: Experiment, run: Run, progress: Progress) -> Baselines:
    """Trainer and calibrate the baselines of an experiment.

    The mapping starts with the experiment's own `classical` methods. These follow:

    - `one_initialisation`: the experiment's learner alone. Present if the run learned several initialisations.
    - `finetuned`: the run's initialisation, adapted by the gradient steps that trained it. Present if the learner
      adapts in another way.
    - `local_only`: each user trains alone, from random parameters.
    - `fedsgd`: trained with the run's outer optimiser, rounds and cohort; not adapted.
    - `fedsgd_finetuned`: `fedsgd`, adapted with calibrated gradient steps.
    - `fedavg`: local training, averaged with an outer learning rate of 1; not adapted. Left out if it diverges.

    Args:
        experiment: the experiment that was run.
        run: its outcome.
        progress: receives a stage for each baseline, and every round.

    Returns:
        By name, a function from the number of interactions k to a method.
    """
    found = {name: _for_every_k(build(run.split.train)) for name, build in experiment.classical.items()}
    if experiment.initialisations > 1:
        progress.stage("one_initialisation: one initialisation for all users")
        found["one_initialisation"] = _one_initialisation(experiment, run, progress)
    progress.stage("local_only: each user trains alone")
    like = experiment.learner.gradient_learner or experiment.learner
    engine = run.engine if like is run.learner else make_engine(like, compile_learner(like))
    if (trained := run.learner.gradient_learner) is not None:
        own = engine if trained is like else make_engine(trained, compile_learner(trained))
        found["finetuned"] = _for_every_k(adapted_predictions(own, run.bundle.meta, trained.knobs))
    found["local_only"] = _local_only(experiment, run, like)
    progress.stage("fedsgd: one gradient step per user and round")
    found |= _fedsgd(experiment, run, like, engine, progress)
    progress.stage("fedavg: average of local training")
    return found | _fedavg(experiment, run, like, engine, progress)


def _fedavg(
    experiment: Experiment, run: Run, like: Learner, engine: Engine, progress: Progress
) -> dict[str, Callable[[int], Method]]:
    """FedAvg, or an empty mapping if it diverges: a step size for a few parameters may be too large for all."""
    learner = fedavg(experiment.model, like, loss=experiment.loss)
    plan, first = replace(run.plan, outer=OuterRule("SGD", 1.0)), learner.init(run.plan.seed)
    try:
        meta = train_in_process(engine_like(engine, learner), run.split.train, first, plan, progress=progress).meta
    except FederationError as error:
        progress.stage(f"fedavg left out: it diverges with a step size of {like.knobs['lr']} ({error})")
        return {}
    return {"fedavg": _for_every_k(adapted_predictions(engine, meta, like.unadapted))}


def _one_initialisation(experiment: Experiment, run: Run, progress: Progress) -> Callable[[int], Method]:
    learner = experiment.learner
    engine = make_engine(learner, compile_learner(learner))
    found = _fitted(engine, learner, run, progress)
    chosen = _calibrated(engine, found.evaluators, run)
    return lambda k: adapted_predictions(engine, found.trained.meta, chosen[k])


def _for_every_k(method: Method) -> Callable[[int], Method]:
    return lambda k: method


def _fedsgd(
    experiment: Experiment, run: Run, like: Learner, engine: Engine, progress: Progress
) -> dict[str, Callable[[int], Method]]:
    learner = fedsgd(experiment.model, like, loss=experiment.loss)
    engine = engine_like(engine, learner)
    found = _fitted(engine, learner, run, progress)
    meta, chosen = found.trained.meta, _calibrated(engine, found.evaluators, run)
    unadapted = adapted_predictions(engine, meta, like.unadapted)
    return {
        "fedsgd": _for_every_k(unadapted),
        "fedsgd_finetuned": lambda k: adapted_predictions(engine, meta, chosen[k]),
    }


def _local_only(experiment: Experiment, run: Run, like: Learner) -> Callable[[int], Method]:
    learner = local_only(experiment.model, like, loss=experiment.loss)
    engine = make_engine(learner, compile_learner(learner))
    meta = learner.init(run.plan.seed)
    chosen = _calibrated(engine, [Evaluator(meta, run.split.calibration)], run)
    return lambda k: adapted_predictions(engine, meta, chosen[k])


def _fitted(engine: Engine, learner: Learner, run: Run, progress: Progress) -> CrossFittedPopulation:
    """Trainer with the run's plan and folds, without validation."""

    def train(
        users: Population, validating: Population | None, progress: Progress, checkpoints: Path | None
    ) -> Trained:
        del validating, checkpoints  # a baseline is neither validated nor resumed
        return train_in_process(engine, users, learner.init(run.plan.seed), run.plan, progress=progress)

    return cross_fit_population(run.split, run.plan, train, progress)


def _calibrated(engine: Engine, evaluators: Sequence[Evaluator], run: Run) -> dict[int, Knobs]:
    entries = calibrate(engine, evaluators, run.ks, run.metric, run.plan.seed)
    manifest = replace(engine.manifest, schedule=entries)
    return {k: knobs_for(manifest, k) for k in run.ks}  # as a device chooses them
