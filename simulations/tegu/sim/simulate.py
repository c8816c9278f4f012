"""Meta-train on many users of one machine: from a population and a learner to a bundle, in one call."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Literal

from torch import nn

from tegu.core.calibration.selection import RISK
from tegu.core.compression.precision import Precision
from tegu.core.metrics import Metric
from tegu.core.sampling.episode import EpisodeRule
from tegu.learners.algorithms.mixture.mixture import mixture
from tegu.learners.algorithms.reptile import reptile
from tegu.learners.algorithms.residual_correction import residual
from tegu.learners.learner import Learner
from tegu.learners.modules.standardised import Standardised, squared_error_in
from tegu.server.training.outer_optimiser import OuterRule
from tegu.sim.data.population import Population, Split
from tegu.sim.data.scaling import standards_of
from tegu.sim.engine import MEMORY, EngineKind
from tegu.sim.run import KS, OnPoint, Run, run_plan
from tegu.sim.training.in_process import Backend, TrainingPlan

__all__ = ["simulate"]

_FEW, _FOLDS = 60, 4


def simulate(
    population: Population,
    learner: Learner | nn.Module,
    *,
    rounds: int = 300,
    cohort: int = 32,
    initialisations: int = 1,
    seed: int = 0,
    backend: Backend = "inprocess",
    engine: EngineKind | Literal["auto"] = "onnx",
    memory: int = MEMORY,
    outer: OuterRule | None = None,
    rule: EpisodeRule | None = None,
    clip: float = math.inf,
    nodes: int | None = None,
    updates: Precision = "float32",
    checkpoints: Path | None = None,
    look_every: int = 0,
    patience: int = 0,
    risk: float = RISK,
    folds: int | None = None,
    ks: Sequence[int] = KS,
    metric: Metric | None = None,
    on_point: OnPoint | None = None,
) -> Run:
    """Train `learner` on most of the users and calibrate its schedule on others; a fifth is held out.

    Args:
        population: everyone.
        learner: built for `population.spec`; or a module, for the default: trained by Reptile and adapted by residual
            correction (`residual_correction`), or by Reptile's steps for a ranking. Such a module has real inputs
            and targets standardised by what training users' are like (`standardised`).
        rounds: of the whole run.
        cohort: users (or nodes, where `nodes` is given) that take part in a round.
        initialisations: so many are learned in one bundle, for people of several kinds; see `mixture`.
        seed: decides splits, first parameters, cohorts and episodes.
        backend: "inprocess", or "ray" for Flower's simulation with a process for every participant.
        engine: what computes updates: "onnx", "onnx-loop", "torch-vmap", "torch-loop", or "auto" for the fastest.
        memory: bytes that the users in work together may take.
        outer: the outer optimiser; SGD with rate 1, which is Reptile's own, where it is None.
        rule: how much of a user becomes support and query in training.
        clip: largest norm of one user's update; infinite for none.
        nodes: participants that the users are dealt out to; None for one node a user.
        updates: precision of the participants' updates: "float32", or "float16" or "int8" with error feedback.
        checkpoints: folder for a checkpoint after every round, from which a run is resumed; None for none.
        look_every: rounds between looks of calibration users at the parameters; 0 for about twenty looks in a run.
        patience: so many looks in turn without a better one end the run, and the best one's parameters are kept; 0 for
            all rounds, and the last one's.
        risk: the largest share of people that adapting may hurt at any k, by what calibration users show.
        folds: everybody who is not held out trains and calibrates, in so many folds and as many trainings more
            (`cross_fitting`); 0 for users apart who calibrate and never train. None for 4 where these would be
            fewer than 60, who cannot tell whom adapting hurts, three quarters are enough for the cohort, there is no
            patience and the backend is "inprocess"; else for 0.
        ks: numbers of interactions to calibrate and to judge at.
        metric: what to judge by; the usual one of `population.spec.kind` by default.
        on_point: told of every round's progress.

    Raises:
        PopulationError: too few users for the split or the cohort, or users with too few rows.
        CompileError: the model cannot be compiled.
        DataError: the learner was built for another spec, or cannot be had several times.
        UnknownNameError: no such backend or engine.
    """
    if isinstance(learner, nn.Module):
        learner = _default(learner, population, seed)
    if folds is None:
        alone = backend == "inprocess" and not patience
        folds = _folds(population.split(seed), max(cohort, nodes or 0)) if alone else 0
    plan = TrainingPlan(
        rounds=rounds,
        cohort=cohort,
        seed=seed,
        outer=outer or OuterRule(),
        rule=rule or EpisodeRule(),
        clip=clip,
        nodes=nodes,
        updates=updates,
        checkpoints=checkpoints,
        look_every=look_every,
        patience=patience,
        risk=risk,
        folds=folds,
    )
    return run_plan(
        population,
        mixture(learner, initialisations),
        plan,
        backend=backend,
        engine=engine,
        memory=memory,
        ks=ks,
        metric=metric,
        on_point=on_point,
    )


def _folds(split: Split, needed: int) -> int:
    everybody = len(split.train) + len(split.calibration)
    enough = everybody - math.ceil(everybody / _FOLDS) >= needed
    return _FOLDS if enough and len(split.calibration) < _FEW else 0


def _default(model: nn.Module, population: Population, seed: int) -> Learner:
    spec = population.spec
    if spec.kind == "ranking":
        return reptile(model, spec)
    x, y = standards_of(population.split(seed).train, seed)
    if x is None and y is None:
        return residual(model, spec)
    learner = residual(Standardised(model, x, y), spec, loss=squared_error_in(y) if y else None)
    trained_as = learner.trained_as and replace(learner.trained_as, units=(x, y))
    return replace(learner, units=(x, y), trained_as=trained_as)
