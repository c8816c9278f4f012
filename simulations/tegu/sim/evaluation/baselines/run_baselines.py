"""Baselines: the same model, trained and adapted by other methods on the same users and supports."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from types import MappingProxyType
from typing import NamedTuple, TypeAlias

from tegu.compile import compile_learner
from tegu.core.bundle.manifest import Knobs, knobs_for
from tegu.core.errors import FederationError
from tegu.learners.baselines.fedavg import fedavg
from tegu.learners.baselines.fedsgd import fedsgd
from tegu.learners.baselines.local_only import local_only
from tegu.learners.learner import Learner, Source
from tegu.server.progress import Progress
from tegu.server.training.automatic import settled
from tegu.server.training.outer_optimiser import OuterRule
from tegu.sim.calibration.calibrate import calibrate
from tegu.sim.data.population import Population
from tegu.sim.engine import Engine, engine_like, make_engine
from tegu.sim.engine.predictions import Method, adapted_predictions
from tegu.sim.evaluation.baselines.tuning import Classical, for_every_k
from tegu.sim.run_result import RunResult
from tegu.sim.training.cross_fitting import CrossFittedPopulation, Evaluator, cross_fit_population
from tegu.sim.training.in_process import Trained, train_in_process

__all__ = ["Baselines", "Compared", "run_baselines"]

Baselines: TypeAlias = Mapping[str, Callable[[int], Method]]


class Compared(NamedTuple):
    """What baselines are made from.

    Attributes:
        learner: the learner of the run, with one initialisation.
        source: the module it was built from, and the loss; None if not known.
        initialisations: number of initialisations of the run.
        classical: further baselines by name, made of the training and the calibration users.
    """

    learner: Learner
    source: Source | None
    initialisations: int = 1
    classical: Mapping[str, Classical] = MappingProxyType({})


def run_baselines(compared: Compared, run: RunResult, progress: Progress) -> Baselines:
    """Train and calibrate the baselines of a run.

    The mapping starts with the `classical` methods. These follow; the last four only if the module is known:

    - `one_initialisation`: the run's learner with one initialisation. Present if the run learned several.
    - `finetuned`: the run's initialisation, adapted by the gradient steps that trained it. Present if the learner
      adapts in another way.
    - `local_only`: each user trains alone, from random parameters.
    - `fedsgd`: trained with the run's outer optimiser, rounds and cohort; not adapted. Left out if it diverges.
    - `fedsgd_finetuned`: `fedsgd`, adapted with calibrated gradient steps.
    - `fedavg`: local training, averaged with an outer learning rate of 1; not adapted. Left out if it diverges.

    Args:
        compared: what the run was made from.
        run: the run.
        progress: receives a stage for each baseline, and every round.

    Returns:
        By name, a function from the number of interactions k to a method.
    """
    found = {name: build(run.split.train, run.split.calibration) for name, build in compared.classical.items()}
    if compared.initialisations > 1:
        progress.stage("one_initialisation: one initialisation for all users")
        found["one_initialisation"] = _one_initialisation(compared, run, progress)
    like = compared.learner.gradient_learner or compared.learner
    engine = run.engine if like is run.learner else make_engine(like, compile_learner(like))
    if (trained := run.learner.gradient_learner) is not None:
        own = engine if trained is like else make_engine(trained, compile_learner(trained))
        found["finetuned"] = for_every_k(adapted_predictions(own, run.bundle.meta, trained.knobs))
    if compared.source is None:
        progress.stage("local_only, fedsgd and fedavg left out: the learner does not know its module")
        return found
    model, loss = compared.source
    progress.stage("local_only: each user trains alone")
    found["local_only"] = _local_only(local_only(model, like, loss=loss), run)
    progress.stage("fedsgd: one gradient step per user and round")
    found |= _fedsgd(fedsgd(model, like, loss=loss), like, run, engine, progress)
    progress.stage("fedavg: average of local training")
    return found | _fedavg(fedavg(model, like, loss=loss), like, run, engine, progress)


def _fedavg(
    learner: Learner, like: Learner, run: RunResult, engine: Engine, progress: Progress
) -> dict[str, Callable[[int], Method]]:
    """FedAvg, or an empty mapping if it diverges: a step size for a few parameters may be too large for all."""
    plan, first = replace(run.plan, outer=OuterRule("SGD", 1.0)), learner.init(run.plan.seed)
    try:
        meta = train_in_process(engine_like(engine, learner), run.split.train, first, plan, progress=progress).meta
    except FederationError as error:
        progress.stage(f"fedavg left out: it diverges with a step size of {like.knobs['lr']} ({error})")
        return {}
    return {"fedavg": for_every_k(adapted_predictions(engine, meta, like.unadapted))}


def _one_initialisation(compared: Compared, run: RunResult, progress: Progress) -> Callable[[int], Method]:
    learner = compared.learner
    engine = make_engine(learner, compile_learner(learner))
    found = _fitted(engine, learner, run, progress)
    chosen = _calibrated(engine, found.evaluators, run)
    return lambda k: adapted_predictions(engine, found.trained.meta, chosen[k])


def _fedsgd(
    learner: Learner, like: Learner, run: RunResult, engine: Engine, progress: Progress
) -> dict[str, Callable[[int], Method]]:
    """FedSGD, or an empty mapping if it diverges: the outer step size is the run's, and made for its updates."""
    engine = engine_like(engine, learner)
    try:
        found = _fitted(engine, learner, run, progress)
    except FederationError as error:
        progress.stage(
            f"fedsgd left out: it diverges with an outer step size of {settled(run.plan).outer.lr} ({error})"
        )
        return {}
    meta, chosen = found.trained.meta, _calibrated(engine, found.evaluators, run)
    unadapted = adapted_predictions(engine, meta, like.unadapted)
    return {
        "fedsgd": for_every_k(unadapted),
        "fedsgd_finetuned": lambda k: adapted_predictions(engine, meta, chosen[k]),
    }


def _local_only(learner: Learner, run: RunResult) -> Callable[[int], Method]:
    engine = make_engine(learner, compile_learner(learner))
    meta = learner.init(run.plan.seed)
    chosen = _calibrated(engine, [Evaluator(meta, run.split.calibration)], run)
    return lambda k: adapted_predictions(engine, meta, chosen[k])


def _fitted(engine: Engine, learner: Learner, run: RunResult, progress: Progress) -> CrossFittedPopulation:
    """Train with the run's plan and folds, without validation."""

    def train(
        users: Population, validating: Population | None, progress: Progress, checkpoints: Path | None
    ) -> Trained:
        del validating, checkpoints  # a baseline is neither validated nor resumed
        return train_in_process(engine, users, learner.init(run.plan.seed), run.plan, progress=progress)

    return cross_fit_population(run.split, run.plan, train, progress)


def _calibrated(engine: Engine, evaluators: Sequence[Evaluator], run: RunResult) -> dict[int, Knobs]:
    entries = calibrate(engine, evaluators, run.ks, run.metric, run.plan.seed)
    manifest = replace(engine.manifest, schedule=entries)
    return {k: knobs_for(manifest, k) for k in run.ks}  # as a device chooses them
