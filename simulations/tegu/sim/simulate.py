"""Meta-train on many users of one machine: from a population and a learner to a bundle, in one call."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Literal

from torch import nn

from tegu.core.data.scaling import Scaling
from tegu.learners.algorithms.mixture.mixture import mixture
from tegu.learners.algorithms.reptile import reptile
from tegu.learners.algorithms.residual_correction import residual_correction
from tegu.learners.learner import Learner
from tegu.learners.modules.standardised import Standardised, squared_error_in
from tegu.server.progress import SILENT, Progress
from tegu.server.training.plan import TrainingPlan
from tegu.sim.data.population import Population
from tegu.sim.data.scaling import scaling_of_users
from tegu.sim.engine import MEMORY, EngineKind
from tegu.sim.run import Run, run_plan
from tegu.sim.training.in_process import Backend

__all__ = ["simulate"]


def simulate(
    population: Population,
    learner: Learner | nn.Module,
    *,
    rounds: int | None = None,
    cohort: int | None = None,
    seed: int | None = None,
    plan: TrainingPlan | None = None,
    initialisations: int = 1,
    backend: Backend = "inprocess",
    engine: EngineKind | Literal["auto"] = "onnx",
    memory: int = MEMORY,
    checkpoints: Path | None = None,
    progress: Progress = SILENT,
) -> Run:
    """Train `learner` on most of the users and calibrate its schedule on others; a fifth is held out.

    `rounds`, `cohort` and `seed` take the place of the plan's own where they are given; `Run.plan` is what was done.

    Args:
        population: everyone.
        learner: built for `population.spec`; or a module, for the default: trained by Reptile and adapted by residual
            correction (`residual_correction`), or by Reptile's steps for a ranking. Such a module has real inputs
            and targets standardised by what training users' are like (`standardised`).
        rounds: of the whole run; None for the plan's, 300 by default.
        cohort: users (or nodes, where the plan has them) that take part in a round: `plan.cohort.size`; None for the
            plan's, 32 by default.
        seed: decides splits, first parameters, cohorts and episodes; None for the plan's, 0 by default.
        plan: every other setting of training and calibration; None for `TrainingPlan()`.
        initialisations: so many are learned in one bundle, for people of several kinds; see `mixture`.
        backend: "inprocess", or "ray" for Flower's simulation with a process for every participant.
        engine: what computes updates: "onnx", "onnx-loop", "torch-vmap", "torch-loop", or "auto" for the fastest.
        memory: bytes that the users processed at once may take.
        checkpoints: folder for a checkpoint after every round, from which a run is resumed; None for none.
        progress: told of every round.

    Raises:
        PopulationError: too few users for the split or the cohort, or users with too few rows.
        CompileError: the model cannot be compiled.
        DataError: a number out of range, the learner was built for another spec, or cannot be had several times.
        UnknownNameError: no such backend or engine.
    """
    plan = _planned(plan or TrainingPlan(), rounds, cohort, seed)
    if isinstance(learner, nn.Module):
        learner = _default(learner, population, plan.seed)
    return run_plan(
        population,
        mixture(learner, initialisations),
        plan,
        backend=backend,
        engine=engine,
        memory=memory,
        checkpoints=checkpoints,
        progress=progress,
    )


def _planned(plan: TrainingPlan, rounds: int | None, cohort: int | None, seed: int | None) -> TrainingPlan:
    """The plan with what was given in words."""
    return replace(
        plan,
        rounds=plan.rounds if rounds is None else rounds,
        seed=plan.seed if seed is None else seed,
        cohort=plan.cohort if cohort is None else replace(plan.cohort, size=cohort),
    )


def _default(model: nn.Module, population: Population, seed: int) -> Learner:
    spec = population.spec
    if spec.kind == "ranking":
        return reptile(model, spec)
    x, y = scaling_of_users(population.split(seed).train, seed)
    if x is None and y is None:
        return residual_correction(model, spec)
    learner = residual_correction(Standardised(model, x, y), spec, loss=squared_error_in(y) if y else None)
    alike = learner.gradient_learner and _scaled(learner.gradient_learner, x, y)
    return replace(_scaled(learner, x, y), gradient_learner=alike)


def _scaled(learner: Learner, x: Scaling | None, y: Scaling | None) -> Learner:
    return replace(learner, execution=replace(learner.execution, example_scaling=(x, y)))
