"""Cross-fitting of a population: the users of each fold, and one training for each fold and for all users.

A federation uses the same loop over the folds (`tegu.server.training.cross_fitting`).

A fold's training has fewer users than the last one, and as many fewer rounds, so that a user takes part as often in
both. By default there are two folds, whose trainings together then take as long as the last one. Nothing is shared
between trainings that a fold's users have touched: a training that starts from parameters which have seen them
remembers them for hundreds of rounds (docs/decisions/035-time-of-a-default-run.md).
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
from tegu.server.training.automatic import settled
from tegu.server.training.cross_fitting import CrossFitted, checkpoint_folder, cross_fit
from tegu.server.training.plan import TrainingPlan
from tegu.sim.data.population import Population, Split
from tegu.sim.training.in_process import Backend, Trained, check_cohort

__all__ = [
    "CrossFittedPopulation",
    "Evaluator",
    "Fold",
    "FoldResult",
    "Trainer",
    "cross_fit_population",
    "make_folds",
    "resolve_folds",
    "split_population",
]

_FEW_CALIBRATION_USERS = 60  # a calibration set of fewer users cannot show whether adaptation makes some worse
_DEFAULT_FOLDS = (2, 4)  # the fewest that fill a cohort, since each fold costs a training


class Fold(NamedTuple):
    """Training users, and the calibration users that evaluate the result."""

    train: Population
    calibration: Population


class Evaluator(NamedTuple):
    """Parameters, and users that took no part in training them."""

    meta: Tree
    population: Population


class FoldResult(NamedTuple):
    """A fold, and what its training users have trained."""

    fold: Fold
    trained: Trained

    @property
    def evaluator(self) -> Evaluator:
        """The trained parameters and the fold's calibration users."""
        return Evaluator(self.trained.meta, self.fold.calibration)


class CrossFittedPopulation(NamedTuple):
    """The result of cross-fitting, or of a single training.

    Attributes:
        trained: the training that is kept. Its seconds, user rounds and bytes are those of all trainings, and its
            validations are means over the folds that were validated: the first one alone if it chose the number of
            rounds.
        folds: the training of each fold. Without cross-fitting there is one, which is the training that is kept.
    """

    trained: Trained
    folds: tuple[FoldResult, ...]

    @property
    def evaluators(self) -> tuple[Evaluator, ...]:
        """The evaluator of each fold."""
        return tuple(result.evaluator for result in self.folds)


Trainer: TypeAlias = Callable[[Population, Population | None, TrainingPlan, Progress, Path | None], Trained]
"""(training users, validation users or None, plan, progress, folder for checkpoints or None) -> the result."""


def resolve_folds(plan: TrainingPlan, population: Population, backend: Backend = "inprocess") -> TrainingPlan:
    """The plan with a definite number of folds; see `CalibrationPlan.folds` for the default.

    Raises:
        PopulationError: as `Population.split`.
    """
    if plan.calibration.folds is not None:
        return plan
    folds = 0
    if backend == "inprocess" and not plan.early_stopping.patience:
        split = population.split(plan.seed, calibration=plan.calibration.share)
        available = len(split.train) + len(split.calibration)
        needed = max(settled(plan).cohort, plan.cohort.nodes or 0)
        enough = [number for number in _DEFAULT_FOLDS if available - math.ceil(available / number) >= needed]
        folds = enough[0] if enough and len(split.calibration) < _FEW_CALIBRATION_USERS else 0
    return replace(plan, calibration=replace(plan.calibration, folds=folds))


def split_population(population: Population, plan: TrainingPlan) -> Split:
    """The plan's split. With cross-fitting, training users are calibration users too.

    Raises:
        PopulationError: as `Population.split`; or one of the plan's trainings has too few users for the cohort.
    """
    folds = plan.calibration.folds or 0
    split = population.split(plan.seed, calibration=None if folds else plan.calibration.share, crossed=bool(folds))
    parts = make_folds(split.train, folds, plan.seed) if folds else ()
    for users in (split.train, *(fold.train for fold in parts)):
        check_cohort(users, plan)
    return split


def make_folds(population: Population, number: int, seed: int) -> tuple[Fold, ...]:
    """Divide users into `number` folds (at least 2) of similar size by their uniform draws.

    Each user is a calibration user of exactly one fold, and a training user of all others.

    Raises:
        PopulationError: there are fewer users than folds.
    """
    if number > len(population):
        raise PopulationError(f"{len(population)} users cannot be divided into {number} folds: use fewer folds")
    draws = np.asarray([uniform_draw(seed, str(name)) for name in population.users])
    fold = np.empty(len(population), np.int64)
    fold[draws.argsort(kind="stable")] = np.arange(len(population)) * number // len(population)
    return tuple(
        Fold(population.subset(np.flatnonzero(fold != each)), population.subset(np.flatnonzero(fold == each)))
        for each in range(number)
    )


def cross_fit_population(
    split: Split, plan: TrainingPlan, train: Trainer, progress: Progress = SILENT, checkpoints: Path | None = None
) -> CrossFittedPopulation:
    """Train as the plan says: once, and with cross-fitting once more for each fold.

    Args:
        split: result of `split_population`.
        plan: its number of folds and its seed.
        train: trains once; see `Trainer`.
        progress: notified after every round of all trainings.
        checkpoints: folder in which each fold has its own folder. None means no checkpoints.

    Raises:
        PopulationError: there are fewer users than folds.
    """
    number = plan.calibration.folds or 0
    folds = make_folds(split.train, number, plan.seed) if number else (Fold(split.train, split.calibration),)
    combined = _CombinedProgress(progress, number, settled(plan).rounds)

    def train_without(fold: int | None, own: TrainingPlan) -> Trained:
        users, validating = (split.train, None) if fold is None else folds[fold]
        folder = checkpoints and checkpoint_folder(checkpoints, number, fold)
        combined.begin(fold, settled(own).rounds)
        return train(users, validating, own, combined, folder)

    fitted = cross_fit(plan, train_without)
    results = tuple(FoldResult(fold, trained) for fold, trained in zip(folds, fitted.by_fold, strict=True))
    return CrossFittedPopulation(_with_totals(fitted) if number else fitted.kept, results)


def _with_totals(fitted: CrossFitted[Trained]) -> Trained:
    """The kept training, with the totals of all trainings and the folds' mean validations."""
    trainings = (*fitted.by_fold, fitted.kept)
    return fitted.kept._replace(
        seconds=sum(each.seconds for each in trainings),
        user_rounds=sum(each.user_rounds for each in trainings),
        received=sum(each.received for each in trainings),
        validations=mean_validations([each.validations for each in fitted.by_fold]),
    )


class _CombinedProgress:
    """Reports the progress of consecutive trainings as that of one: those of the folds, and a last one.

    Args:
        progress: receives it.
        folds: number of folds.
        last: rounds of the last training. A first fold that ends early makes the other trainings shorter.
    """

    def __init__(self, progress: Progress, folds: int, last: int) -> None:
        self._progress, self._folds, self._last = progress, folds, last
        self._ended = self._run = self._rounds = self._total = 0
        self._before = self._latest = (0, 0.0)

    def begin(self, fold: int | None, rounds: int) -> None:
        """Begin the training of a fold, or the last one, of so many rounds.

        A training that an earlier run finished reports no rounds.
        """
        if fold and rounds != self._rounds:
            self._last = rounds * self._folds // (self._folds - 1)
        self._ended, self._before = self._ended + self._run, self._latest
        self._run = self._rounds = rounds
        remaining = (self._folds - fold) * rounds if fold is not None else 0
        self._total = self._ended + (remaining + self._last if self._folds else rounds)

    def stage(self, text: str) -> None:
        """Report the stage unchanged."""
        self._progress.stage(text)

    def round(self, progress: RoundProgress) -> None:
        """Report the round, counted from the first training."""
        users, seconds = self._before
        self._latest = users, seconds = users + progress.user_rounds, seconds + progress.seconds
        self._run = progress.round
        self._progress.round(
            progress._replace(
                round=self._ended + progress.round, rounds=self._total, user_rounds=users, seconds=seconds
            )
        )
