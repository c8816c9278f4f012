"""Who calibrates, and so never trains: decided by seed and name alone, on the device itself.

A share of all users does, the first of as many as there are. Where users are cross-fitted, each share in turn (a fold)
judges parameters that were trained without it.
"""

from __future__ import annotations

import hashlib

__all__ = ["is_calibration_user", "is_comparison_user", "uniform_draw"]


def uniform_draw(seed: int, user: str) -> float:
    """The user's lot in a run, from 0 up to 1."""
    drawn = hashlib.blake2b(f"{seed}\0role\0{user}".encode(), digest_size=8).digest()
    return (int.from_bytes(drawn, "little") >> 11) * 2.0**-53


def is_calibration_user(seed: int, user: str, share: float, fold: int = 0) -> bool:
    """Whether the user is among the `share` of all who calibrate in this fold and take no part in its training."""
    return share * fold <= uniform_draw(seed, user) < share * (fold + 1)


def is_comparison_user(seed: int, user: str, share: float, fold: int = 0) -> bool:
    """Whether the user trains and is one of those, as many, whom the calibration users are compared with."""
    return share > 0 and is_calibration_user(seed, user, share, (fold + 1) % int(1 / share))
