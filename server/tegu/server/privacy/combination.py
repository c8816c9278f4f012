"""Settings that exclude each other where the server or a device adds noise. Each is refused with the reason."""

from __future__ import annotations

import math

from tegu.core.errors import DataError
from tegu.server.privacy.plan import PrivacyPlan

__all__ = ["check_combination", "people_of_a_node"]


def check_combination(
    privacy: PrivacyPlan,
    *,
    clip: float | str | None,
    aggregation: str,
    precision: str,
    folds: int | None,
    buffer: int = 0,
) -> None:
    """Check that the noise protects a person as the accountant assumes.

    Args:
        privacy: the settings.
        clip: of updates.
        aggregation: of updates.
        precision: of updates.
        folds: of cross-fitting.
        buffer: of an asynchronous run; 0 for rounds.

    Raises:
        DataError: it would not.
    """
    if not privacy.is_on:
        return
    if isinstance(clip, float | int) and math.isinf(clip):
        raise DataError(
            "there is no clip (clip=0) with noise for privacy: one person's update could then be longer than any "
            "noise; set a clip, or leave it out for an adaptive one"
        )
    if privacy.local_noise and not isinstance(clip, float | int):
        raise DataError(
            f"local_noise is {privacy.local_noise} and the clip is adaptive: how many updates are within the clip "
            "would be sent without noise; set a number as the clip"
        )
    if not privacy.central:
        return
    if aggregation != "mean":
        raise DataError(
            f"aggregation is {aggregation} with noise on the mean: how far one person moves a robust rule is not "
            "bounded by the clip, so that the epsilon would be wrong; use the mean, or local_noise with this rule"
        )
    if precision != "float32":
        raise DataError(
            f"precision is {precision} with noise on the mean: a node then adds the rounding errors of earlier rounds "
            "to its sum, which is longer than the clip allows; use float32"
        )
    if buffer:
        raise DataError(
            f"buffer is {buffer} with noise on the mean: who answers first decides then who counts, and no accountant "
            "knows the probability; set buffer to 0"
        )
    if folds:
        raise DataError(
            f"folds is {folds} with noise on the mean: each fold is a training of its own on the same people, which "
            "would spend epsilon for parameters that are not kept; set folds to 0"
        )


def people_of_a_node(users_per_node: int, nodes: int | None, *, own_node: bool) -> int:
    """The largest number of people in one node's reply.

    Args:
        users_per_node: as the plan says.
        nodes: of a simulation, as the plan says.
        own_node: whether each person of a simulation without `nodes` is a node.

    Raises:
        DataError: the plan does not bound it.
    """
    if users_per_node:
        return users_per_node
    if own_node and nodes is None:
        return 1
    raise DataError(
        "users_per_node is 0, which means all of a node's, with noise for privacy: the sum is divided by a number of "
        "people that is known beforehand; set users_per_node (users-per-node), 1 where a node is one person's"
    )
