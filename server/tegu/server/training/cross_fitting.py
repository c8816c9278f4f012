"""Cross-fitting: every user trains and every user calibrates, but never the parameters that the user has trained.

How much to adapt must be learned from users that the parameters have not seen, and a few users are too few for it.
Therefore the parameters are trained once without each fold of the users, and that fold calibrates them. A last training
with all users gives the parameters to keep. Chernozhukov et al. 2018, "Double/debiased machine learning",
arXiv:1608.00060, use every row twice in this way.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Generic, TypeVar

from tegu.server.training.automatic import settled
from tegu.server.training.plan import TrainingPlan

__all__ = ["CrossFitted", "checkpoint_folder", "cross_fit", "fold_rounds"]

Trained = TypeVar("Trained")


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


def cross_fit(folds: int, train: Callable[[int | None], Trained]) -> CrossFitted[Trained]:
    """Train without each fold in turn, then with all users. Without folds, train once without the calibration users.

    Args:
        folds: number of folds; 0 for no cross-fitting.
        train: runs one training. Its argument is the fold whose users are left out, or None for a training with all
            users. Without folds the argument is 0 and stands for the calibration users.
    """
    if not folds:
        only = train(0)
        return CrossFitted(only, (only,))
    by_fold = tuple(train(fold) for fold in range(folds))
    return CrossFitted(train(None), by_fold)


def checkpoint_folder(folder: Path, folds: int, fold: int | None) -> Path:
    """Folder of a training's checkpoints. With cross-fitting each fold has its own."""
    return folder if not folds or fold is None else folder / f"fold-{fold}"


def fold_rounds(plan: TrainingPlan) -> int:
    """Rounds of each fold's training: a user takes part as often as in the training with all users."""
    rounds, folds = settled(plan).rounds, plan.calibration.folds or 0
    return -(-rounds * (folds - 1) // folds) if folds else rounds
