"""Which characters train, calibrate and are held out. Whole alphabets are held out."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from tegu.core.errors import DataError, UnknownNameError
from tegu.core.sampling.keyed_random import keyed_rng
from tegu.sim.experiments.omniglot.archive import Drawings

__all__ = ["Characters", "split_characters"]

_SMALL = ("Japanese_(katakana)", "Sanskrit", "Tagalog")  # held out of the small archives
_CALIBRATION = 0.15  # of the characters that are not held out


class Characters(NamedTuple):
    """Names of characters, as in `Drawings.character`."""

    train: list[str]
    calibration: list[str]
    heldout: list[str]


def split_characters(drawings: Drawings, ways: int, seed: int, heldout: Sequence[str] | None = None) -> Characters:
    """Divide characters into three parts.

    By default the official evaluation set is held out. Without it these are Sanskrit, Tagalog and katakana, if all are
    there, and otherwise the last third of the alphabets by name. Of the other characters 15%, but at least `ways`,
    calibrate: the seed draws them.

    Args:
        drawings: all of them.
        ways: classes of a task.
        seed: of the draw.
        heldout: alphabets to hold out; None for the default.

    Raises:
        DataError: too few characters are left to train or to calibrate.
        UnknownNameError: no such alphabet.
    """
    alphabets = np.unique(drawings.alphabet).tolist()
    for name in heldout or ():
        if name not in alphabets:
            raise UnknownNameError("alphabet", name, alphabets)
    out = set(_default(drawings, alphabets) if heldout is None else heldout)
    names = np.unique(drawings.character).tolist()
    held = [name for name in names if name.partition("/")[0] in out]
    rest = [name for name in names if name not in held]
    number = max(ways, round(_CALIBRATION * len(rest)))
    if len(rest) < number + ways:
        raise DataError(
            f"{len(rest)} characters are not held out: expected {2 * ways} or more, for tasks of {ways} ways that "
            "train and that calibrate; hold out fewer alphabets, or take fewer ways"
        )
    order = keyed_rng("omniglot", seed).permutation(len(rest))
    calibration = sorted(rest[place] for place in order[:number])
    return Characters(sorted(set(rest) - set(calibration)), calibration, held)


def _default(drawings: Drawings, alphabets: Sequence[str]) -> Sequence[str]:
    if drawings.evaluation.any() and not drawings.evaluation.all():
        return sorted(set(drawings.alphabet[drawings.evaluation].tolist()))
    return _SMALL if set(_SMALL) <= set(alphabets) else alphabets[-max(1, len(alphabets) // 3) :]
