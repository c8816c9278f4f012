"""A plan carried out: train, then choose how hard to adapt; what that gives."""

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

__all__ = ["Run", "run_plan", "with_heldout"]

_LIBRARIES = ("tegu", "torch", "flwr", "onnx", "onnxruntime", "numpy")


@dataclass(frozen=True)
class Run:
    """What a simulation gave.

    Attributes:
        bundle: the initialisation with its schedule, ready to be written.
        split: who trained, who calibrated, who was held out.
        judges: who calibrated which parameters, none of them trained by those who judge them.
        learner: what was trained.
        engine: runs it.
        plan: how it was trained.
        trained: figures of the training, and how it went.
        judged: how calibration people and those who trained do by the initialisation, at the middle k.
        metric: what it is judged by.
        ks: numbers of interactions to judge at.
    """

    bundle: Bundle
    split: Split
    judges: tuple[Evaluator, ...]
    learner: Learner
    engine: Engine
    plan: TrainingPlan
    trained: Trained
    judged: Validation | None
    metric: Metric
    ks: tuple[int, ...]

    def initialisation(self) -> Method:
        """Predict without adapting."""
        return adapted_predictions(self.engine, self.bundle.meta, self.learner.unadapted)

    def personalised(self, k: int) -> Method:
        """Adapt as a device with `k` interactions would."""
        return adapted_predictions(self.engine, self.bundle.meta, knobs_for(self.bundle.manifest, k))

    def write(self, path: str | Path, private_key: bytes | None = None, precision: Precision = "float32") -> Bundle:
        """Write the bundle; see `tegu.core.bundle.file.write_bundle`.

        Where it is not stored as float32, the manifest's `training` says so: its `meta` is the digest of what was
        trained, which a reader does not have.
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
    """Train `learner` on most of the users and calibrate its schedule on others; a fifth is held out.

    Args:
        population: everyone.
        learner: built for `population.spec`.
        plan: every setting of training and calibration.
        backend: "inprocess", or "ray" for Flower's simulation with a process for every participant.
        engine: what computes updates; see `make_engine`. "auto" measures all on the first cohort and takes the
            fastest, so that the last bits of what is learned can differ from run to run.
        memory: bytes that the users processed at once may take.
        checkpoints: folder for a checkpoint after every round, from which a run is resumed; None for none.
        progress: told of every round; on Ray of none.

    Raises:
        PopulationError: too few users for the split or the cohort, or users with too few rows.
        CompileError: the model cannot be compiled.
        DataError: the learner was built for another spec, or there is patience where nobody can look on.
        UnknownNameError: no such backend or engine.
    """
    check_backend(backend)
    check_engine(engine)
    if learner.spec != population.spec:
        raise DataError(
            f"the learner was built for {learner.spec} and the population has {population.spec}: build it anew"
        )
    if (patience := plan.early_stopping.patience) and backend == "ray":
        raise DataError(
            f"patience is {patience} on the backend ray, where nobody looks on: set it to 0, or use inprocess"
        )
    plan = resolve_folds(plan, population, backend)
    metric = plan.calibration.metric_for(population.spec)
    split = split_population(population, plan)
    ks, watched_k = _usable(plan.calibration.ks, split)
    graphs = compile_learner(learner)
    chosen = _engine(engine, learner, graphs, split.train, plan, memory)
    validation = Validator(split.calibration, metric, watched_k, chosen.manifest)
    train = _training(backend, learner, graphs, chosen, plan, validation)
    found = cross_fit_population(split, plan, train, progress, checkpoints)
    trained = found.trained
    schedule = calibrate(chosen, found.evaluators, ks, metric, plan.seed, plan.calibration.risk)
    made = make_bundle(learner, trained.meta, graphs)
    provenance = _provenance(split, plan, backend, trained)
    return Run(
        replace(made, manifest=replace(made.manifest, schedule=schedule, training=provenance)),
        split,
        found.evaluators,
        learner,
        chosen,
        plan,
        trained,
        _judged(chosen, validation, found.folds, plan.seed),
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


def _usable(ks: Sequence[int], split: Split) -> tuple[tuple[int, ...], int]:
    """The `ks` that held-out users have the rows for, and the middle one of those that calibration users have too."""
    judged = tuple(sorted(k for k in set(ks) if (split.heldout.max_support >= k).any()))
    watched = [k for k in judged if (split.calibration.max_support >= k).any()]
    if not watched:
        most = [int(people.max_support.max()) + 1 for people in (split.heldout, split.calibration)]
        raise PopulationError(
            f"no k of {sorted(set(ks))} leaves rows to judge by: held-out users have up to {most[0]} rows, calibration "
            f"users up to {most[1]}, less what cannot be parted; choose smaller ks or bring users with more rows"
        )
    return judged, watched[len(watched) // 2]


def _training(
    backend: Backend,
    learner: Learner,
    graphs: dict[str, bytes],
    engine: Engine,
    plan: TrainingPlan,
    validation: Validator,
) -> Trainer:
    """How to train once."""

    def in_process(
        people: Population, looking: Population | None, progress: Progress, checkpoints: Path | None
    ) -> Trained:
        look = None if looking is None else validation._replace(population=looking)
        first = learner.init(plan.seed)
        return train_in_process(
            engine, people, first, plan, checkpoints=checkpoints, progress=progress, validation=look
        )

    def on_ray(people: Population, looking: Population | None, progress: Progress, checkpoints: Path | None) -> Trained:
        from tegu.sim.training.on_ray import train_on_ray  # noqa: PLC0415 # Ray takes seconds to import, and few need it

        del looking, progress  # Flower's simulation tells nobody, and nobody looks on
        with tempfile.TemporaryDirectory() as folder:
            start = make_bundle(learner, learner.init(plan.seed), graphs)
            return train_on_ray(start, people, plan, Path(folder), checkpoints)

    return in_process if backend == "inprocess" else on_ray


def _judged(engine: Engine, validation: Validator, parts: Sequence[FoldResult], seed: int) -> Validation | None:
    looks = (
        validation._replace(population=part.fold.calibration).final_validation(
            engine, part.fold.train, part.trained, seed
        )
        for part in parts
    )
    return mean_validation([look for look in looks if look is not None])


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


def with_heldout(run: Run, curve: Sequence[dict[str, Any]]) -> Run:
    """The run with its held-out results in the manifest."""
    manifest = replace(run.bundle.manifest, heldout=tuple(curve))
    return replace(run, bundle=replace(run.bundle, manifest=manifest))
