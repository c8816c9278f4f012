"""Cross-fitting: everybody trains and everybody calibrates, but nobody judges parameters that it has trained.

How much to adapt is learned from users the parameters have not seen, and a few users cannot tell it. So the parameters
are trained once more without each fold of the users, for that fold to judge, and then with all of them, to be kept:
Chernozhukov et al. 2018, "Double/debiased machine learning", arXiv:1608.00060, use everyone's rows twice in this way.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Generic, TypeVar

__all__ = ["CrossFitted", "checkpoint_folder", "cross_fit"]

Trained = TypeVar("Trained")


@dataclass(frozen=True)
class CrossFitted(Generic[Trained]):
    """What cross-fitting gave.

    Attributes:
        kept: by the training that is kept.
        by_fold: by each training that is judged, which had no part of its fold's users. Without folds it is one, and
            what is kept.
    """

    kept: Trained
    by_fold: tuple[Trained, ...]


def cross_fit(folds: int, train: Callable[[int | None], Trained]) -> CrossFitted[Trained]:
    """Train without each fold in turn, then with everybody; without folds once, without those who calibrate.

    Args:
        folds: how many; 0 for none.
        train: from the fold whose users are left out (0 for those who calibrate, where there are no folds, and None for
            nobody) to what is learned.
    """
    if not folds:
        only = train(0)
        return CrossFitted(only, (only,))
    by_fold = tuple(train(fold) for fold in range(folds))
    return CrossFitted(train(None), by_fold)


def checkpoint_folder(folder: Path, folds: int, fold: int | None) -> Path:
    """Where a training's checkpoints are: each fold's in a folder of its own."""
    return folder if not folds or fold is None else folder / f"fold-{fold}"
