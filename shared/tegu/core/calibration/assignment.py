"""Which users calibrate and therefore do not train. Each device decides from seed and user name alone.

A share of all users calibrates. With cross-fitting there are several such shares, the folds. Each fold calibrates
parameters that were trained without it.
"""

from __future__ import annotations

import hashlib

__all__ = ["is_calibration_user", "is_comparison_user", "uniform_draw"]


def uniform_draw(seed: int, user: str) -> float:
    """A number in [0, 1) that is uniform over users and fixed for a user and seed."""
    drawn = hashlib.blake2b(f"{seed}\0role\0{user}".encode(), digest_size=8).digest()
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
