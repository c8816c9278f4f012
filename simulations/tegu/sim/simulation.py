"""Simulate a federation on one machine: from a population and a learner to a bundle, in one call."""

from __future__ import annotations

import inspect
import os
from dataclasses import replace
from pathlib import Path
from typing import Literal, Never

from torch import nn

from tegu.core.errors import DataError, UnknownNameError
from tegu.core.notes import note
from tegu.core.sampling.episode import shortage_message
from tegu.core.scalars import whole_number
from tegu.learners.algorithms.mixture.mixture import mixture
from tegu.learners.default_dtype import float32_by_default
from tegu.learners.learner import Learner
from tegu.learners.modules.initial_values import Init
from tegu.learners.modules.named_output import OutputName
from tegu.server.progress import Progress
from tegu.server.training.plan import TrainingPlan
from tegu.sim.data.population import Population
from tegu.sim.defaults.choose import choose_learner
from tegu.sim.describe_parameters import describe_parameters
from tegu.sim.engine import MEMORY, EngineKind
from tegu.sim.reporting.progress import progress_or_default
from tegu.sim.run import Run, run_plan
from tegu.sim.training.in_process import Backend

__all__ = ["simulate"]


@float32_by_default()
def simulate(
    population: Population,
    learner: Learner | nn.Module | None = None,
    *,
    rounds: int | None = None,
    cohort: int | None = None,
    seed: int | None = None,
    plan: TrainingPlan | None = None,
    initialisations: int = 1,
    init: Init = "module",
    standardise: bool | None = None,
    output: OutputName | None = None,
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
        population: all users. Those whose rows cannot be split into a support and a query are left out, and a note says
            how many. With nodes, each round leaves them out.
        learner: a learner built for `population.spec`, or a module. A module adapts by residual correction and is
            trained through it (`residual_correction`), or by Reptile for a ranking. Its parameters without
            `requires_grad` are fixed. None takes the default for the population: item effects, level, spread and taste
            for one number per item id, vectors of items and users for a ranking, and otherwise a small network that is
            made from the spec. A note says which.
        rounds: number of rounds. None means the plan's, or what the learner recommends: for a module until
            validations no longer rise, 2,400 to 4,800 at most (`EarlyStopping.until_flat`), and otherwise 300 by
            default.
        cohort: users per round, or nodes per round if the plan has nodes (`plan.cohort.size`). None means the plan's,
            or what the learner recommends: for a module as many as have about 800 rows, from 8 to 32; otherwise 32
            by default. It is no more than train.
        seed: determines splits, first parameters, cohorts and episodes. None means the plan's, 0 by default.
        plan: all other settings of training and calibration. None means `TrainingPlan()`.
        initialisations: number of initialisations to learn in one bundle, for different groups of users; see `mixture`.
        init: where training of a module starts: "module" for its own parameters, "fresh" for parameters drawn anew
            from the seed. A learner has its own `init`.
        standardise: whether a module gets real inputs and targets with mean 0 and deviation 1. None standardises
            unless the module's values mean something: if some are fixed, if it holds running statistics or looks
            trained, or if it predicts training users' rows better than a constant. Then its function before
            training is exactly the given one. A note says what was done.
        output: name or position of the output of a module that returns several. None takes the only one that fits.
        backend: "inprocess", or "ray" for Flower's simulation, which runs every participant in its own process.
        engine: computes updates: "onnx", "onnx-loop", "torch-vmap", "torch-loop", or "auto" for the fastest.
        memory: memory limit in bytes for users processed at once.
        checkpoints: folder for a checkpoint after every round. A folder that holds checkpoints of this run continues
            it, with a note that says from which round; the result is that of an uninterrupted run. Another run's folder
            is refused: plan, learner, first parameters and data must be the same. The number of rounds may grow if
            neither decay nor patience depends on it, also after a run that validation has ended. Without patience what
            calibration alone uses may change (ks, metric, limits on harm). None writes none.
        resume: whether `checkpoints` must hold this run already.
        progress: receives every stage and round. None shows them on stderr: a bar in a terminal, a line that changes in
            a notebook, few lines in a log. `tegu.server.progress.SILENT` shows nothing.
        unknown: nothing; there are no other keywords.

    Raises:
        PopulationError: too few users for the split or the cohort, or none with enough rows.
        CompileError: the model cannot be compiled.
        DataError: an argument has another type, a number is out of range, the learner was built for another spec, or it
            does not allow several initialisations.
        FederationError: `checkpoints` holds another run or is in use, or training diverges.
        FileError: `checkpoints` cannot be written.
        UnknownNameError: no such backend, engine, `init` or keyword.
    """
    if unknown:
        raise UnknownNameError("keyword of simulate", next(iter(unknown)), _keywords())
    if not isinstance(plan, TrainingPlan | None):
        raise DataError(f"plan is {plan!r}: expected a TrainingPlan")
    _check_types(population, checkpoints)
    initialisations = whole_number("initialisations", initialisations, 1)
    plan = _with_overrides(plan or TrainingPlan(), rounds, cohort, seed)
    population = _with_enough_rows(population, plan)
    learner = choose_learner(population, learner, plan.seed, init, standardise, output)
    several = mixture(learner, initialisations)
    note(describe_parameters(several))
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


def _check_types(population: object, checkpoints: object) -> None:
    if not isinstance(population, Population):
        raise DataError(
            f"the population is a {type(population).__name__}: expected a Population; make one with "
            "Population.from_arrays(x, y, user), from_frame or from_file"
        )
    if not isinstance(checkpoints, str | os.PathLike | None):
        raise DataError(f"checkpoints is {checkpoints!r}: expected the path of a folder, or None")


def _with_enough_rows(population: Population, plan: TrainingPlan) -> Population:
    """The users who can adapt on one row at least. Nodes leave the others out of each round, as devices do."""
    short = population.max_support < 1
    if plan.cohort.nodes is not None or not short.any() or short.all():
        return population
    first = int(short.argmax())
    why = shortage_message(int(population.counts[first]), int(population.max_support[first]), 1)
    note(f"{short.sum():,} of {len(population):,} users are left out: user {population.users[first]} has {why}")
    return population.with_rows(2)


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
