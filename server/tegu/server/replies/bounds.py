"""The influence of a round's replies, bounded: in users, and in norm by a clip that the server enforces."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import NamedTuple

from tegu.server.replies.adaptive_clip import first_clip, next_clip
from tegu.server.replies.training import within_clip
from tegu.wire import Reply

__all__ = ["Bounded", "bound_norms"]


class Bounded(NamedTuple):
    """Replies whose norms are at most their users times the clip.

    Attributes:
        replies: by node.
        scaled: nodes whose updates were scaled down.
        clip: that was enforced.
        next_clip: of the next round.
    """

    replies: Mapping[int, Reply]
    scaled: tuple[int, ...]
    clip: float
    next_clip: float


def bound_norms(found: Mapping[int, Reply], clip: float, *, adaptive: bool, noise: float = 0.0) -> Bounded:
    """Scale down the updates that are longer than their users times the clip.

    Args:
        found: checked replies by node.
        clip: that the round has asked for. Infinite, with an adaptive clip, in the round that starts it.
        adaptive: whether the clip follows the replies; see `tegu.server.replies.adaptive_clip`.
        noise: largest norm of the noise that a device adds to its sum.
    """
    training, following = [reply for reply in found.values() if reply.users], clip
    if adaptive and training:
        if math.isinf(clip):
            clip = following = first_clip(training)
        else:
            following = next_clip(clip, training)
    bounded = {node: within_clip(reply, clip, noise) for node, reply in found.items()}
    return Bounded(bounded, tuple(node for node in found if bounded[node] is not found[node]), clip, following)
