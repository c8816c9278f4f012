"""Run a training plan: train, then calibrate the schedule of adaptation."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from dataclasses import replace
from importlib.metadata import version
from pathlib import Path
from typing import Any, Literal

from tegu.compile import compile_learner, make_bundle
from tegu.core.calibration.selection.enough_people import check_people
from tegu.core.data.tree import digest
from tegu.core.errors import DataError, PopulationError
from tegu.core.notes import note
from tegu.core.privacy.line import privacy_line
from tegu.core.sampling.episode import draw_users
from tegu.learners.algorithms.mixture.mixture import count_initialisations
from tegu.learners.default_dtype import float32_by_default
from tegu.learners.learner import Learner
from tegu.server.calibration.schedule import note_on_harm
from tegu.server.evaluation.validation import Validation, mean_validation
from tegu.server.privacy.statement import without_people
from tegu.server.progress import SILENT, Progress
from tegu.server.training.automatic import settled
from tegu.server.training.cross_fitting import fold_rounds, with_rounds
from tegu.server.training.plan import EarlyStopping, TrainingPlan
from tegu.server.training.run_folder import check_run, hold_folder
from tegu.sim.attacks.attack import Attack
from tegu.sim.calibration.calibrate import calibrate
from tegu.sim.data.cohort import draw_cohort
from tegu.sim.data.population import Population, Split
from tegu.sim.engine import MEMORY, Engine, EngineKind, check_engine, fastest, make_engine
from tegu.sim.engine.stored import can_be_stored
from tegu.sim.finished_run import Run
from tegu.sim.training.automatic import with_fitting_cohort
from tegu.sim.training.cross_fitting import (
    FoldResult,
    Trainer,
    cross_fit_population,
    resolve_folds,
    split_population,
)
from tegu.sim.training.in_process import Backend, Trained, Validator, check_backend, train_in_process
from tegu.sim.training.run_record import run_record

__all__ = ["Run", "run_plan"]

_LIBRARIES = ("tegu", "torch", "flwr", "onnx", "onnxruntime", "numpy")


@float32_by_default()
def run_plan(
    population: Population,
    learner: Learner,
    plan: TrainingPlan,
    *,
    backend: Backend = "inprocess",
    engine: EngineKind | Literal["auto"] = "onnx",
    memory: int = MEMORY,
    checkpoints: str | Path | None = None,
    resume: bool = False,
    progress: Progress = SILENT,
    attack: Attack | None = None,
) -> Run:
    """Train `learner` on most of the users and calibrate its schedule on others; a fifth is held out.

    Args:
        population: all users.
        learner: a learner built for `population.spec`.
        plan: every setting of training and calibration.
        backend: "inprocess", or "ray" for Flower's simulation, which runs every participant in its own process.
        engine: computes updates; see `make_engine`. "auto" times every engine on the first cohort and takes the
            fastest. The last bits of the parameters can then differ from run to run.
        memory: memory limit in bytes for users processed at once.
        checkpoints: folder for a checkpoint after every round; see `simulate`.
        resume: whether the folder must hold this run already.
        progress: receives stages and every round; with the backend "ray", no rounds.
        attack: what false training users do; None if all are honest. With the backend "ray" there is none.

    Raises:
        PopulationError: too few users for the split or the cohort, or users with too few rows.
        CompileError: the model cannot be compiled.
        DataError: the learner was built for another spec, the plan has patience or `until_flat` and the backend is
            "ray", or `resume` without `checkpoints`; or fewer users calibrate than the plan's `confidence` takes.
        FederationError: the folder holds another run or is in use, or training diverges.
        UnknownNameError: no such backend or engine.
    """
    check_backend(backend)
    check_engine(engine)
    if attack is not None and (backend == "ray" or checkpoints is not None):
        raise DataError("an attack needs the backend inprocess and no checkpoints, which would not know of it")
    if learner.spec != population.spec:
        raise DataError(
            f"the learner was built for {learner.spec} but the population has {population.spec}: build the learner for "
            "the population's spec"
        )
    if (patience := plan.early_stopping.patience) and backend == "ray":
        raise DataError(
            f"patience is {patience} with the backend ray, which has no validation: set patience to 0, or use the "
            "backend inprocess"
        )
    folder = _folder(checkpoints, resume)
    if backend == "ray":
        plan = replace(plan, early_stopping=_fixed_rounds(plan.early_stopping))
    plan = resolve_folds(with_fitting_cohort(plan, learner.recommended, population), population, backend)
    with hold_folder(folder):
        return _run(population, learner, plan, backend, engine, memory, folder, resume, progress, attack)


def _fixed_rounds(stopping: EarlyStopping) -> EarlyStopping:
    """The rule to stop of a run without validations."""
    if stopping.until_flat:
        raise DataError(
            "until_flat is True with the backend ray, which has no validation: set until_flat to False, or use the "
            "backend inprocess"
        )
    return replace(stopping, until_flat=False)


def _folder(checkpoints: str | Path | None, resume: bool) -> Path | None:
    if checkpoints is None and resume:
        raise DataError("resume is True and checkpoints is None: expected the folder of the run to resume")
    return None if checkpoints is None else Path(checkpoints)


def _run(
    population: Population,
    learner: Learner,
    plan: TrainingPlan,
    backend: Backend,
    engine: EngineKind | Literal["auto"],
    memory: int,
    folder: Path | None,
    resume: bool,
    progress: Progress,
    attack: Attack | None,
) -> Run:
    metric = plan.calibration.metric_for(population.spec)
    split = split_population(population, plan)
    ks, validation_k = supported_ks(plan.calibration.ks, split)
    folds = plan.calibration.folds or 0
    check_people(len(split.calibration), plan.calibration.limits)
    crossed = f"{folds} times {fold_rounds(plan)} rounds and " if folds else ""
    at_most = "at most " if plan.early_stopping.until_flat else ""
    progress.stage(f"{learner.name}: compiling graphs, then {at_most}{crossed}{settled(plan).rounds} rounds")
    graphs = compile_learner(learner)
    if folder is not None:
        check_run(folder, run_record(population, learner, graphs, plan, backend), resume=resume)
    chosen = _engine(engine, learner, graphs, split.train, plan, memory)
    validation = Validator(split.calibration, metric, validation_k, chosen.manifest)
    train = _training(backend, learner, graphs, chosen, plan, validation, attack)
    found = cross_fit_population(split, plan, train, progress, folder)
    trained = found.trained
    if plan.early_stopping.until_flat:  # the plan that was run, and gives the same again
        plan = with_rounds(plan, trained.kept)
    schedule = calibrate(chosen, found.evaluators, ks, metric, plan.seed, plan.calibration.limits)
    if plan.privacy.is_on:
        schedule = without_people(schedule)
        note(privacy_line(trained.privacy))
    note_on_harm(schedule)
    made = make_bundle(learner, trained.meta, graphs)
    provenance = _provenance(split, plan, backend, trained)
    return Run(
        replace(
            made, manifest=replace(made.manifest, schedule=schedule, training=provenance, encoding=population.encoding)
        ),
        split,
        found.evaluators,
        learner,
        chosen,
        plan,
        trained,
        _final_validation(chosen, validation, found.folds, plan.seed),
        metric,
        ks,
    )


def _engine(
    kind: EngineKind | Literal["auto"],
    learner: Learner,
    graphs: dict[str, bytes],
    train: Population,
    plan: TrainingPlan,
    memory: int,
) -> Engine:
    if kind != "auto":
        return make_engine(learner, graphs, kind, memory)
    users = draw_users(len(train), settled(plan).cohort if plan.cohort.nodes is None else 0, plan.seed, 1)
    first = draw_cohort(train, users, plan.episodes, plan.seed, 1)
    return fastest(learner, graphs, learner.init(plan.seed), first, memory)


def supported_ks(ks: Sequence[int], split: Split) -> tuple[tuple[int, ...], int]:
    """Return the `ks` that the users have rows for, and the k to validate at.

    Returns:
        The `ks` for which some held-out user has enough rows, in ascending order; and the middle one of those for which
        some calibration user has enough rows too.

    Raises:
        PopulationError: no k is left for validation.
    """
    evaluated = tuple(sorted(k for k in set(ks) if (split.heldout.max_support >= k).any()))
    validated = [k for k in evaluated if (split.calibration.max_support >= k).any()]
    if not validated:
        largest = [int(users.max_support.max(initial=-1)) + 1 for users in (split.heldout, split.calibration)]
        raise PopulationError(
            f"no k of {sorted(set(ks))} leaves query rows: held-out users have up to {largest[0]} usable rows and "
            f"calibration users up to {largest[1]}; choose smaller ks or bring users with more rows"
        )
    return evaluated, validated[len(validated) // 2]


def _training(
    backend: Backend,
    learner: Learner,
    graphs: dict[str, bytes],
    engine: Engine,
    plan: TrainingPlan,
    validation: Validator,
    attack: Attack | None,
) -> Trainer:
    """Return the function that runs one training with the backend."""

    def in_process(
        users: Population, validating: Population | None, own: TrainingPlan, progress: Progress, folder: Path | None
    ) -> Trained:
        validator = None if validating is None else validation._replace(population=validating)
        first = learner.init(plan.seed)
        return train_in_process(
            engine, users, first, own, checkpoints=folder, progress=progress, validation=validator, attack=attack
        )

    def on_ray(
        users: Population, validating: Population | None, own: TrainingPlan, progress: Progress, folder: Path | None
    ) -> Trained:
        from tegu.sim.training.on_ray import train_on_ray  # noqa: PLC0415 # Ray takes seconds to import

        del validating, progress  # Flower's simulation has no validation and reports no rounds
        with tempfile.TemporaryDirectory() as temporary:
            start = make_bundle(learner, learner.init(plan.seed), graphs)
            many = own.cohort.nodes is not None and can_be_stored(engine)  # otherwise nodes are devices of one user
            return train_on_ray(start, users, own, Path(temporary), folder, engine if many else None)

    return in_process if backend == "inprocess" else on_ray


def _final_validation(
    engine: Engine, validation: Validator, parts: Sequence[FoldResult], seed: int
) -> Validation | None:
    """Return the mean over folds of the validation of the final parameters."""
    each = (
        validation._replace(population=part.fold.calibration).final_validation(
            engine, part.fold.train, part.trained, seed
        )
        for part in parts
    )
    return mean_validation([found for found in each if found is not None])


def _provenance(split: Split, plan: TrainingPlan, backend: str, trained: Trained) -> dict[str, Any]:
    rounds, cohort, outer = settled(plan)
    return {
        "folds": plan.calibration.folds or 0,
        "train_users": len(split.train),
        "calibration_users": len(split.calibration),
        "heldout_users": len(split.heldout),
        "rounds": rounds,
        "fold_rounds": fold_rounds(plan),
        "kept_round": trained.kept,
        "cohort": cohort,
        "initialisations": count_initialisations(trained.meta),
        "seed": plan.seed,
        "outer": outer.name,
        "outer_lr": outer.lr,
        "outer_options": dict(outer.options),
        "backend": backend,
        "meta": digest(trained.meta),
        "libraries": {name: version(name) for name in _LIBRARIES},
        **({"privacy": dict(trained.privacy)} if trained.privacy else {}),
    }
