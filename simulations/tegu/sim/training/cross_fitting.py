"""Cross-fitting of a population: who is in which fold, and what the trainings of all folds give together.

The loop over the folds is that of a federation (`tegu.server.training.cross_fitting`).
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple, TypeAlias

import numpy as np

from tegu.core.calibration.assignment import uniform_draw
from tegu.core.data.tree import Tree
from tegu.core.errors import PopulationError
from tegu.server.evaluation.validation import mean_validations
from tegu.server.progress import SILENT, Progress, RoundProgress
from tegu.server.training.cross_fitting import CrossFitted, checkpoint_folder, cross_fit
from tegu.server.training.plan import TrainingPlan
from tegu.sim.data.population import Population, Split
from tegu.sim.training.in_process import Backend, Trained, check_cohort

__all__ = ["Fitted", "Fold", "Judge", "Part", "fitted", "folds_of", "split_for", "with_folds"]

_FEW, _FOLDS = 60, 4  # fewer users apart cannot tell whom adapting hurts


class Fold(NamedTuple):
    """Who trains, and who judges what they have trained."""

    train: Population
    calibration: Population


class Judge(NamedTuple):
    """Parameters, and people who had no part in training them."""

    meta: Tree
    people: Population


class Part(NamedTuple):
    """What the training people of a fold have trained."""

    fold: Fold
    trained: Trained

    @property
    def judge(self) -> Judge:
        """The fold's calibration people, and what they judge."""
        return Judge(self.trained.meta, self.fold.calibration)


class Fitted(NamedTuple):
    """What training gave.

    Attributes:
        trained: what is kept; its seconds and users' updates are those of all trainings, its looks their means.
        parts: what is judged, and by whom. Without cross-fitting it is one, and what is kept.
    """

    trained: Trained
    parts: tuple[Part, ...]

    @property
    def judges(self) -> tuple[Judge, ...]:
        """Of all parts."""
        return tuple(part.judge for part in self.parts)


Train: TypeAlias = Callable[[Population, Population | None, Progress, Path | None], Trained]


def with_folds(plan: TrainingPlan, population: Population, backend: Backend = "inprocess") -> TrainingPlan:
    """The plan with a number of folds, where it leaves that open: see `CalibrationPlan.folds`.

    Raises:
        PopulationError: as `Population.split`.
    """
    if plan.calibration.folds is not None:
        return plan
    folds = 0
    if backend == "inprocess" and not plan.early_stopping.patience:
        split = population.split(plan.seed, calibration=plan.calibration.share)
        everybody = len(split.train) + len(split.calibration)
        needed = max(plan.cohort.size, plan.cohort.nodes or 0)
        enough = everybody - math.ceil(everybody / _FOLDS) >= needed
        folds = _FOLDS if enough and len(split.calibration) < _FEW else 0
    return replace(plan, calibration=replace(plan.calibration, folds=folds))


def split_for(population: Population, plan: TrainingPlan) -> Split:
    """The plan's split; where it cross-fits, those who train are those who calibrate.

    Raises:
        PopulationError: as `Population.split`; or those who train in one of the plan's trainings are too few.
    """
    folds = plan.calibration.folds or 0
    split = population.split(plan.seed, calibration=None if folds else plan.calibration.share, crossed=bool(folds))
    parts = folds_of(split.train, folds, plan.seed) if folds else ()
    for people in (split.train, *(part.train for part in parts)):
        check_cohort(people, plan)
    return split


def folds_of(people: Population, number: int, seed: int) -> tuple[Fold, ...]:
    """The people in so many folds (2 or more) of like size, by their lots: each is the calibration people of one.

    Raises:
        PopulationError: fewer people than folds.
    """
    if number > len(people):
        raise PopulationError(f"{len(people)} people cannot be parted into {number} folds: take fewer")
    lots = np.asarray([uniform_draw(seed, str(name)) for name in people.users])
    fold = np.empty(len(people), np.int64)
    fold[lots.argsort(kind="stable")] = np.arange(len(people)) * number // len(people)
    return tuple(
        Fold(people.subset(np.flatnonzero(fold != each)), people.subset(np.flatnonzero(fold == each)))
        for each in range(number)
    )


def fitted(
    split: Split, plan: TrainingPlan, train: Train, progress: Progress = SILENT, checkpoints: Path | None = None
) -> Fitted:
    """Train as the plan says, once, or once more for each fold.

    Args:
        split: of `split_for`.
        plan: how many folds, and of which seed.
        train: from those who train, those who look on (None for nobody), who is told, and the folder for checkpoints
            (None for none), to what that gives.
        progress: told of every round of all trainings.
        checkpoints: a folder, in which each fold has its own; None for none.

    Raises:
        PopulationError: fewer people than folds.
    """
    folds = plan.calibration.folds or 0
    parts = folds_of(split.train, folds, plan.seed) if folds else (Fold(split.train, split.calibration),)
    told = _Told(progress, folds + 1)

    def train_without(fold: int | None) -> Trained:
        people, looking = (split.train, None) if fold is None else parts[fold]
        trained = train(people, looking, told, checkpoints and checkpoint_folder(checkpoints, folds, fold))
        told.begin_next()
        return trained

    found = cross_fit(folds, train_without)
    judged = tuple(Part(part, trained) for part, trained in zip(parts, found.by_fold, strict=True))
    return Fitted(_together(found) if folds else found.kept, judged)


def _together(found: CrossFitted[Trained]) -> Trained:
    """What is kept, with the figures of all trainings."""
    everything = (*found.by_fold, found.kept)
    return found.kept._replace(
        seconds=sum(each.seconds for each in everything),
        user_rounds=sum(each.user_rounds for each in everything),
        received=sum(each.received for each in everything),
        looks=mean_validations([each.looks for each in found.by_fold]),
    )


class _Told:
    """Progress of trainings that follow each other, as that of one."""

    def __init__(self, progress: Progress, trainings: int) -> None:
        self._progress, self._trainings = progress, trainings
        self._done = 0
        self._before = self._latest = (0, 0.0)

    def begin_next(self) -> None:
        """Count on from here; a training that was finished in an earlier run has told nothing."""
        self._done, self._before = self._done + 1, self._latest

    def stage(self, text: str) -> None:
        """Pass it on."""
        self._progress.stage(text)

    def round(self, progress: RoundProgress) -> None:
        """Pass it on, counted from the first training."""
        users, seconds = self._before
        self._latest = users, seconds = users + progress.user_rounds, seconds + progress.seconds
        self._progress.round(
            progress._replace(
                round=self._done * progress.rounds + progress.round,
                rounds=self._trainings * progress.rounds,
                user_rounds=users,
                seconds=seconds,
            )
        )
