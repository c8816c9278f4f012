"""Who calibrates, and so never trains: decided by seed and name alone, on the device itself."""

from __future__ import annotations

import hashlib

__all__ = ["calibrates", "is_compared", "lot"]


def lot(seed: int, user: str) -> float:
    """The user's lot in a run, from 0 up to 1."""
    drawn = hashlib.blake2b(f"{seed}\0role\0{user}".encode(), digest_size=8).digest()
    return (int.from_bytes(drawn, "little") >> 11) * 2.0**-53


def calibrates(seed: int, user: str, share: float) -> bool:
    """Whether the user is among the `share` of all who calibrate and take no part in training."""
    return lot(seed, user) < share


def is_compared(seed: int, user: str, share: float) -> bool:
    """Whether the user trains and is one of those, as many, whom the calibration users are compared with."""
    return share <= lot(seed, user) < 2 * share
