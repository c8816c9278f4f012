"""Which users calibrate and therefore do not train. Each device decides from seed and user name alone.

A share of all users calibrates. With cross-fitting there are several such shares, the folds. Each fold calibrates
parameters that were trained without it.

The calibration users have two halves: those who propose candidates, and those who test what was proposed. The test is
then honest, however many candidates there were.
"""

from __future__ import annotations

import hashlib

__all__ = ["PROPOSING", "is_calibration_user", "is_comparison_user", "is_proposing_user", "uniform_draw"]

PROPOSING = 0.4  # share of the calibration users; with more, fewer are left to show that almost nobody is hurt


def uniform_draw(seed: int, user: str, purpose: str = "role") -> float:
    """A number in [0, 1) that is uniform over users and fixed for a user, seed and purpose."""
    drawn = hashlib.blake2b(f"{seed}\0{purpose}\0{user}".encode(), digest_size=8).digest()
    return (int.from_bytes(drawn, "little") >> 11) * 2.0**-53


def is_calibration_user(seed: int, user: str, share: float, fold: int = 0) -> bool:
    """Whether the user calibrates in this fold and takes no part in its training.

    Args:
        seed: of the run.
        user: name.
        share: of all users who calibrate in one fold.
        fold: from 0.
    """
    return share * fold <= uniform_draw(seed, user) < share * (fold + 1)


def is_comparison_user(seed: int, user: str, share: float, fold: int = 0) -> bool:
    """Whether the user trains and belongs to the comparison group, which is as large as the calibration group."""
    return share > 0 and is_calibration_user(seed, user, share, (fold + 1) % int(1 / share))


def is_proposing_user(seed: int, user: str) -> bool:
    """Whether a calibration user belongs to the half that proposes candidates; the others test them."""
    return uniform_draw(seed, user, "half") < PROPOSING
