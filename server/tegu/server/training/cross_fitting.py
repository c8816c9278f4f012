"""Cross-fitting: every user trains and every user calibrates, but never the parameters that the user has trained.

How much to adapt must be learned from users that the parameters have not seen, and a few users are too few for it.
Therefore the parameters are trained once without each fold of the users, and that fold calibrates them. A last training
with all users gives the parameters to keep. Chernozhukov et al. 2018, "Double/debiased machine learning",
arXiv:1608.00060, use every row twice in this way.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Generic, Protocol, TypeVar

from tegu.server.training.automatic import settled
from tegu.server.training.plan import EarlyStopping, TrainingPlan

__all__ = ["CrossFitted", "checkpoint_folder", "cross_fit", "fold_rounds", "with_rounds"]


class _Kept(Protocol):
    """The result of a training that knows the round whose parameters it keeps."""

    @property
    def kept(self) -> int: ...


Trained = TypeVar("Trained", bound=_Kept)


@dataclass(frozen=True)
class CrossFitted(Generic[Trained]):
    """The result of cross-fitting.

    Attributes:
        kept: result of the training whose parameters are kept.
        by_fold: result of each training that is calibrated, which left out its fold's users. Without folds this is
            one result, `kept` itself.
    """

    kept: Trained
    by_fold: tuple[Trained, ...]

    def __repr__(self) -> str:
        return f"CrossFitted({len(self.by_fold)} trainings to calibrate)"


def cross_fit(plan: TrainingPlan, train: Callable[[int | None, TrainingPlan], Trained]) -> CrossFitted[Trained]:
    """Train without each fold in turn, then with all users. Without folds, train once without the calibration users.

    A plan that ends once validations no longer rise (`until_flat`) ends so in its first training. The others run as
    many rounds as that one has kept, and the last one as many in proportion to its users. So only the first fold's
    users choose the number of rounds, and no users choose the parameters of the other folds that they calibrate.
    The others are not validated: it would decide nothing.

    Args:
        plan: its number of folds, 0 for no cross-fitting, and its number of rounds.
        train: runs one training by the given plan. Its first argument is the fold whose users are left out, or None
            for a training with all users. Without folds the argument is 0 and stands for the calibration users.
    """
    folds = plan.calibration.folds or 0
    if not folds:
        only = train(0, plan)
        return CrossFitted(only, (only,))
    first = train(0, replace(plan, rounds=fold_rounds(plan)))
    if plan.early_stopping.until_flat:
        plan = _without_validations(with_rounds(plan, first.kept * folds // (folds - 1)))
    others = tuple(train(fold, replace(plan, rounds=fold_rounds(plan))) for fold in range(1, folds))
    return CrossFitted(train(None, plan), (first, *others))


def with_rounds(plan: TrainingPlan, rounds: int) -> TrainingPlan:
    """The plan with exactly this number of rounds, and with validations after the same ones as before."""
    stopping, most = plan.early_stopping, settled(plan).rounds
    every = stopping.validate_every
    if every is None and stopping.until_flat:
        every = stopping.interval(most, by_default=True)
    return replace(plan, rounds=rounds, early_stopping=replace(stopping, validate_every=every, until_flat=False))


def _without_validations(plan: TrainingPlan) -> TrainingPlan:
    """The plan without validations: those of the trainings after the first one would decide nothing."""
    return replace(plan, early_stopping=EarlyStopping(validate_every=0, until_flat=False))


def checkpoint_folder(folder: Path, folds: int, fold: int | None) -> Path:
    """Folder of a training's checkpoints. With cross-fitting each fold has its own."""
    return folder if not folds or fold is None else folder / f"fold-{fold}"


def fold_rounds(plan: TrainingPlan) -> int:
    """Rounds of each fold's training: a user takes part as often as in the training with all users."""
    rounds, folds = settled(plan).rounds, plan.calibration.folds or 0
    return -(-rounds * (folds - 1) // folds) if folds else rounds
