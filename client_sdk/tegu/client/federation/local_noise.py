"""Local differential privacy: a device adds noise to its own sum, so that the server sees no update without it.

The same question gets the same noise, and is counted once: a server that asks again, or that has lost a reply, learns
nothing more. The secret that the noise is made from stays in the node's state, which a restart of the node ends.
"""

from __future__ import annotations

import hashlib
import math
import secrets
from collections.abc import Mapping
from typing import Any

from tegu.core.data.tree import Tree
from tegu.core.errors import FederationError
from tegu.core.privacy.gaussian import gaussian_epsilon
from tegu.core.privacy.noise import add_noise, normal_of_secret

__all__ = ["local_spending", "with_local_noise"]

_DELTA = 1e-5  # of what the log says
_KEPT = 64  # questions that are known again


def with_local_noise(
    total: Tree, clip: float, multiplier: float, question: bytes, state: Mapping[str, Any]
) -> tuple[Tree, dict[str, Any]]:
    """The sum with noise, and the state after it.

    Args:
        total: the sum of clipped updates.
        clip: largest norm of one person's update.
        multiplier: standard deviation of the noise, in clips.
        question: all that determines the sum, besides the device's own rows.
        state: of earlier calls; empty at first.

    Raises:
        FederationError: the clip or the multiplier is not finite.
    """
    if not (math.isfinite(clip) and math.isfinite(multiplier) and multiplier > 0):
        raise FederationError(
            f"local noise {multiplier} with a clip of {clip}: expected finite numbers above 0, since noise hides no "
            "update that may have any length"
        )
    secret = bytes(state.get("secret", b"")) or secrets.token_bytes(32)
    noised = add_noise(total, multiplier * clip, normal_of_secret(secret, question))
    asked, known = hashlib.sha256(question).hexdigest(), list(state.get("questions", []))
    answers, precision = int(state.get("answers", 0)), float(state.get("precision", 0.0))
    if asked not in known:
        answers, precision, known = answers + 1, precision + multiplier**-2, [*known, asked][-_KEPT:]
    return noised, {"secret": secret, "questions": known, "answers": answers, "precision": precision}


def local_spending(state: Mapping[str, Any]) -> str:
    """What the answers so far have spent, in words."""
    spent = gaussian_epsilon(float(state["precision"]), _DELTA)
    return (
        f"{state['answers']} answers since this node started, epsilon {spent:.3g} at delta {_DELTA:g} toward the "
        "server for each person of this node who was in all of them"
    )
