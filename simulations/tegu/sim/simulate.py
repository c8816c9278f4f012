"""Simulate a federation on one machine: from a population and a learner to a bundle, in one call."""

from __future__ import annotations

import inspect
from dataclasses import replace
from pathlib import Path
from typing import Literal, Never

from torch import nn

from tegu.core.data.scaling import Scaling
from tegu.core.errors import UnknownNameError
from tegu.learners.algorithms.mixture.mixture import mixture
from tegu.learners.algorithms.reptile import reptile
from tegu.learners.algorithms.residual_correction import residual_correction
from tegu.learners.learner import Learner
from tegu.learners.modules.standardised import Standardised, squared_error_in
from tegu.server.progress import Progress
from tegu.server.training.plan import TrainingPlan
from tegu.sim.data.population import Population
from tegu.sim.data.scaling import scaling_of_users
from tegu.sim.engine import MEMORY, EngineKind
from tegu.sim.reporting.progress import progress_or_default
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
    checkpoints: str | Path | None = None,
    resume: bool = False,
    progress: Progress | None = None,
    **unknown: Never,
) -> Run:
    """Train `learner` on most of the users and calibrate its schedule on others; a fifth is held out.

    `rounds`, `cohort` and `seed` replace the plan's values if given. `Run.plan` is the plan that was run.

    Args:
        population: all users.
        learner: a learner built for `population.spec`, or a module. A module is trained by Reptile. It adapts by
            residual correction (`residual_correction`), or by Reptile's steps for a ranking. Its real inputs and
            targets are standardised with the training users' means and deviations (`standardised`).
        rounds: number of rounds. None means the plan's, 300 by default.
        cohort: users per round, or nodes per round if the plan has nodes (`plan.cohort.size`). None means the plan's,
            32 by default.
        seed: determines splits, first parameters, cohorts and episodes. None means the plan's, 0 by default.
        plan: all other settings of training and calibration. None means `TrainingPlan()`.
        initialisations: number of initialisations to learn in one bundle, for different groups of users; see `mixture`.
        backend: "inprocess", or "ray" for Flower's simulation, which runs every participant in its own process.
        engine: computes updates: "onnx", "onnx-loop", "torch-vmap", "torch-loop", or "auto" for the fastest.
        memory: memory limit in bytes for users processed at once.
        checkpoints: folder for a checkpoint after every round. A folder that holds checkpoints of this run continues
            it, with a note that says from which round; the result is that of an uninterrupted run. Another run's folder
            is refused: plan, learner, first parameters and data must be the same. The number of rounds alone may grow,
            if neither decay nor patience depends on it. None writes none.
        resume: whether `checkpoints` must hold this run already.
        progress: receives every stage and round. None shows them on stderr: a bar in a terminal, a line that changes in
            a notebook, few lines in a log. `tegu.server.progress.SILENT` shows nothing.
        unknown: nothing; there are no other keywords.

    Raises:
        PopulationError: too few users for the split or the cohort, or users with too few rows.
        CompileError: the model cannot be compiled.
        DataError: a number is out of range, the learner was built for another spec, or it does not allow several
            initialisations.
        FederationError: `checkpoints` holds another run or is in use, or training diverges.
        FileError: `checkpoints` cannot be written.
        UnknownNameError: no such backend, engine or keyword.
    """
    if unknown:
        raise UnknownNameError("keyword of simulate", next(iter(unknown)), _keywords())
    plan = _with_overrides(plan or TrainingPlan(), rounds, cohort, seed)
    if isinstance(learner, nn.Module):
        learner = _default_learner(learner, population, plan.seed)
    several = mixture(learner, initialisations)
    with progress_or_default(progress, plan.calibration.metric_for(population.spec).name) as shown:
        run = run_plan(
            population,
            several,
            plan,
            backend=backend,
            engine=engine,
            memory=memory,
            checkpoints=checkpoints,
            resume=resume,
            progress=shown,
        )
    return replace(run, initialisations=initialisations, single=learner)


def _keywords() -> list[str]:
    parameters = inspect.signature(simulate).parameters.values()
    return [each.name for each in parameters if each.kind is each.KEYWORD_ONLY]


def _with_overrides(plan: TrainingPlan, rounds: int | None, cohort: int | None, seed: int | None) -> TrainingPlan:
    """Return the plan with the values that are not None."""
    return replace(
        plan,
        rounds=plan.rounds if rounds is None else rounds,
        seed=plan.seed if seed is None else seed,
        cohort=plan.cohort if cohort is None else replace(plan.cohort, size=cohort),
    )


def _default_learner(model: nn.Module, population: Population, seed: int) -> Learner:
    """Return the default learner for a module; see `simulate`."""
    spec = population.spec
    if spec.kind == "ranking":
        return reptile(model, spec)
    x, y = scaling_of_users(population.split(seed).train, seed)
    if x is None and y is None:
        return residual_correction(model, spec)
    learner = residual_correction(Standardised(model, x, y), spec, loss=squared_error_in(y) if y else None)
    gradient_learner = learner.gradient_learner and _scaled(learner.gradient_learner, x, y)
    return replace(_scaled(learner, x, y), gradient_learner=gradient_learner)


def _scaled(learner: Learner, x: Scaling | None, y: Scaling | None) -> Learner:
    return replace(learner, execution=replace(learner.execution, example_scaling=(x, y)))
