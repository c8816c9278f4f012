"""Cross-fitting: everybody trains and everybody calibrates, but nobody judges parameters that it has trained.

How much to adapt is learned from users the parameters have not seen, and a few users cannot tell it. So the parameters
are trained once more without each fold of the users, for that fold to judge, and then with all of them, to be kept:
Chernozhukov et al. 2018, "Double/debiased machine learning", arXiv:1608.00060, use everyone's rows twice in this way.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import NamedTuple, TypeAlias

import numpy as np

from tegu.core.calibration.assignment import lot
from tegu.core.data.tree import Tree
from tegu.core.errors import DataError, PopulationError
from tegu.server.evaluation.validation import mean_looks
from tegu.sim.data.population import Population, Split
from tegu.sim.training.in_process import OnProgress, Progress, Trained, TrainingPlan, check_cohort

__all__ = ["Fitted", "Fold", "Judge", "Part", "fitted", "folds_of", "split_for"]


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


Train: TypeAlias = Callable[[Population, Population | None, TrainingPlan, OnProgress | None], Trained]


def split_for(population: Population, plan: TrainingPlan) -> Split:
    """The plan's split; where it cross-fits, those who train are those who calibrate.

    Raises:
        DataError: the plan has patience and folds, or fewer than 2 folds.
        PopulationError: as `Population.split`; or those who train in one of the plan's trainings are too few.
    """
    if plan.folds and plan.patience:
        raise DataError(
            f"patience is {plan.patience} with {plan.folds} folds: everybody has a part in the last training, so that "
            "nobody can look on; set one of them to 0"
        )
    split = population.split(plan.seed, crossed=bool(plan.folds))
    folds = folds_of(split.train, plan.folds, plan.seed) if plan.folds else ()
    for people in (split.train, *(fold.train for fold in folds)):
        check_cohort(people, plan)
    return split


def folds_of(people: Population, number: int, seed: int) -> tuple[Fold, ...]:
    """The people in so many folds of like size, by their lots: each is the calibration people of one.

    Raises:
        DataError: fewer than 2 folds.
        PopulationError: fewer people than folds.
    """
    if number < 2:  # one would train on nobody
        raise DataError(f"folds are {number}: expected 0 for none, or 2 and more")
    if number > len(people):
        raise PopulationError(f"{len(people)} people cannot be parted into {number} folds: take fewer")
    lots = np.asarray([lot(seed, str(name)) for name in people.users])
    fold = np.empty(len(people), np.int64)
    fold[lots.argsort(kind="stable")] = np.arange(len(people)) * number // len(people)
    return tuple(
        Fold(people.subset(np.flatnonzero(fold != each)), people.subset(np.flatnonzero(fold == each)))
        for each in range(number)
    )


def fitted(split: Split, plan: TrainingPlan, train: Train, on_progress: OnProgress | None = None) -> Fitted:
    """Train as the plan says, once, or once more for each fold.

    Args:
        split: of `split_for`.
        plan: its checkpoints are parted by training.
        train: from those who train, those who look on (None for nobody), how, and who is told, to what that gives.
        on_progress: told of every round of all trainings.

    Raises:
        DataError: fewer than 2 folds.
        PopulationError: fewer people than folds.
    """
    if not plan.folds:
        fold = Fold(split.train, split.calibration)
        trained = train(*fold, plan, on_progress)
        return Fitted(trained, (Part(fold, trained),))
    parts = list[Part]()
    told = _Told(on_progress, plan.folds + 1)
    for number, fold in enumerate(folds_of(split.train, plan.folds, plan.seed)):
        parts.append(Part(fold, train(*fold, _apart(plan, number), told)))
        told.begin_next()
    last = train(split.train, None, plan, told)
    everything = [*(part.trained for part in parts), last]
    trained = last._replace(
        seconds=sum(each.seconds for each in everything),
        user_rounds=sum(each.user_rounds for each in everything),
        received=sum(each.received for each in everything),
        looks=mean_looks([part.trained.looks for part in parts]),
    )
    return Fitted(trained, tuple(parts))


def _apart(plan: TrainingPlan, number: int) -> TrainingPlan:
    return replace(plan, checkpoints=plan.checkpoints and plan.checkpoints / f"fold-{number}")


class _Told:
    """Progress of trainings that follow each other, as that of one."""

    def __init__(self, on_progress: OnProgress | None, trainings: int) -> None:
        self._on_progress, self._trainings = on_progress, trainings
        self._done = 0
        self._before = self._latest = (0, 0.0)

    def begin_next(self) -> None:
        """Count on from here; a training that was finished in an earlier run has told nothing."""
        self._done, self._before = self._done + 1, self._latest

    def __call__(self, progress: Progress) -> None:
        users, seconds = self._before
        self._latest = (users + progress.user_rounds, seconds + progress.seconds)
        if self._on_progress is not None:
            users, seconds = self._latest
            self._on_progress(
                progress._replace(
                    round=self._done * progress.rounds + progress.round,
                    rounds=self._trainings * progress.rounds,
                    user_rounds=users,
                    seconds=seconds,
                )
            )
