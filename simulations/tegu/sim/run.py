"""Run a training plan: train, then calibrate the schedule of adaptation."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, replace
from importlib.metadata import version
from pathlib import Path
from typing import Any, Literal

from tegu.compile import compile_learner, make_bundle
from tegu.core.bundle.file import Bundle, write_bundle
from tegu.core.bundle.manifest import knobs_for
from tegu.core.compression.precision import Precision
from tegu.core.data.tree import digest
from tegu.core.errors import DataError, PopulationError
from tegu.core.metrics import Metric
from tegu.core.sampling.episode import draw_users
from tegu.learners.algorithms.mixture.mixture import count_initialisations
from tegu.learners.learner import Learner
from tegu.server.evaluation.validation import Validation, mean_validation
from tegu.server.progress import SILENT, Progress
from tegu.server.training.plan import TrainingPlan
from tegu.sim.calibration.calibrate import calibrate
from tegu.sim.data.cohort import draw_cohort
from tegu.sim.data.population import Population, Split
from tegu.sim.engine import MEMORY, Engine, EngineKind, check_engine, fastest, make_engine
from tegu.sim.engine.predictions import Method, adapted_predictions
from tegu.sim.training.cross_fitting import (
    Evaluator,
    FoldResult,
    Trainer,
    cross_fit_population,
    resolve_folds,
    split_population,
)
from tegu.sim.training.in_process import Backend, Trained, Validator, check_backend, train_in_process

__all__ = ["Run", "run_plan", "with_results"]

_LIBRARIES = ("tegu", "torch", "flwr", "onnx", "onnxruntime", "numpy")


@dataclass(frozen=True)
class Run:
    """Outcome of a simulation.

    Attributes:
        bundle: the initialisation with its schedule, ready to be written.
        split: the training, calibration and held-out users.
        fold_evaluators: for each fold, parameters and the calibration users that had no part in training them.
        learner: the learner that was trained.
        engine: the engine that runs the learner.
        plan: the plan that was run; nothing in it is left open.
        trained: the trained parameters, with the figures of the training.
        final_validation: results of the initialisation on calibration and training users, at the middle k. None if
            there is nothing to validate.
        metric: the metric of all results.
        ks: numbers of interactions to evaluate at.
    """

    bundle: Bundle
    split: Split
    fold_evaluators: tuple[Evaluator, ...]
    learner: Learner
    engine: Engine
    plan: TrainingPlan
    trained: Trained
    final_validation: Validation | None
    metric: Metric
    ks: tuple[int, ...]

    def __repr__(self) -> str:
        split = self.split
        return (
            f"Run(learner={self.learner.name!r}, rounds={self.plan.rounds}, train_users={len(split.train)}, "
            f"calibration_users={len(split.calibration)}, heldout_users={len(split.heldout)}, ks={self.ks})"
        )

    def initialisation(self) -> Method:
        """Return the method that predicts without adapting."""
        return adapted_predictions(self.engine, self.bundle.meta, self.learner.unadapted)

    def personalised(self, k: int) -> Method:
        """Return the method that adapts as a device with `k` interactions does."""
        return adapted_predictions(self.engine, self.bundle.meta, knobs_for(self.bundle.manifest, k))

    def write(self, path: str | Path, private_key: bytes | None = None, precision: Precision = "float32") -> Bundle:
        """Write the bundle; see `tegu.core.bundle.file.write_bundle`.

        With a precision other than float32, the manifest's `training` has an entry `stored_as`. Its entry `meta` is
        still the digest of the parameters as trained, not as stored.

        Raises:
            FileError: the file cannot be written.
            DataError: a parameter holds a value that the precision cannot represent.
        """
        bundle = self.bundle
        if precision != "float32":
            training = {**bundle.manifest.training, "stored_as": precision}
            bundle = replace(bundle, manifest=replace(bundle.manifest, training=training))
        return write_bundle(path, bundle, private_key, precision)


def run_plan(
    population: Population,
    learner: Learner,
    plan: TrainingPlan,
    *,
    backend: Backend = "inprocess",
    engine: EngineKind | Literal["auto"] = "onnx",
    memory: int = MEMORY,
    checkpoints: Path | None = None,
    progress: Progress = SILENT,
) -> Run:
    """Trainer `learner` on most of the users and calibrate its schedule on others; a fifth is held out.

    Args:
        population: all users.
        learner: a learner built for `population.spec`.
        plan: every setting of training and calibration.
        backend: "inprocess", or "ray" for Flower's simulation, which runs every participant in its own process.
        engine: computes updates; see `make_engine`. "auto" times every engine on the first cohort and takes the
            fastest. The last bits of the parameters can then differ from run to run.
        memory: memory limit in bytes for users processed at once.
        checkpoints: folder for a checkpoint after every round; a run resumes from the last one. None writes none.
        progress: receives every round; with the backend "ray", none.

    Raises:
        PopulationError: too few users for the split or the cohort, or users with too few rows.
        CompileError: the model cannot be compiled.
        DataError: the learner was built for another spec, or the plan has patience and the backend is "ray".
        UnknownNameError: no such backend or engine.
    """
    check_backend(backend)
    check_engine(engine)
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
    plan = resolve_folds(plan, population, backend)
    metric = plan.calibration.metric_for(population.spec)
    split = split_population(population, plan)
    ks, validation_k = supported_ks(plan.calibration.ks, split)
    graphs = compile_learner(learner)
    chosen = _engine(engine, learner, graphs, split.train, plan, memory)
    validation = Validator(split.calibration, metric, validation_k, chosen.manifest)
    train = _training(backend, learner, graphs, chosen, plan, validation)
    found = cross_fit_population(split, plan, train, progress, checkpoints)
    trained = found.trained
    schedule = calibrate(chosen, found.evaluators, ks, metric, plan.seed, plan.calibration.risk)
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
    users = draw_users(len(train), plan.cohort.size if plan.cohort.nodes is None else 0, plan.seed, 1)
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
        largest = [int(users.max_support.max()) + 1 for users in (split.heldout, split.calibration)]
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
) -> Trainer:
    """Return the function that runs one training with the backend."""

    def in_process(
        users: Population, validating: Population | None, progress: Progress, checkpoints: Path | None
    ) -> Trained:
        validator = None if validating is None else validation._replace(population=validating)
        first = learner.init(plan.seed)
        return train_in_process(
            engine, users, first, plan, checkpoints=checkpoints, progress=progress, validation=validator
        )

    def on_ray(
        users: Population, validating: Population | None, progress: Progress, checkpoints: Path | None
    ) -> Trained:
        from tegu.sim.training.on_ray import train_on_ray  # noqa: PLC0415 # Ray takes seconds to import

        del validating, progress  # Flower's simulation has no validation and reports no rounds
        with tempfile.TemporaryDirectory() as folder:
            start = make_bundle(learner, learner.init(plan.seed), graphs)
            return train_on_ray(start, users, plan, Path(folder), checkpoints)

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
    return {
        "folds": plan.calibration.folds or 0,
        "train_users": len(split.train),
        "calibration_users": len(split.calibration),
        "heldout_users": len(split.heldout),
        "rounds": plan.rounds,
        "kept_round": trained.kept,
        "cohort": plan.cohort.size,
        "initialisations": count_initialisations(trained.meta),
        "seed": plan.seed,
        "outer": plan.outer.name,
        "outer_lr": plan.outer.lr,
        "outer_options": dict(plan.outer.options),
        "backend": backend,
        "meta": digest(trained.meta),
        "libraries": {name: version(name) for name in _LIBRARIES},
    }


def with_results(run: Run, curve: Sequence[dict[str, Any]]) -> Run:
    """Return the run with its held-out results in the bundle's manifest."""
    manifest = replace(run.bundle.manifest, heldout=tuple(curve))
    return replace(run, bundle=replace(run.bundle, manifest=manifest))
