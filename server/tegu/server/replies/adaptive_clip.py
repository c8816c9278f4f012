"""A clip that follows the users' updates: the norm that half of them are within.

Andrew et al. 2021, "Differentially private learning with adaptive clipping", arXiv:1905.03871. Each reply counts how
many of its users' updates needed no clipping. The clip moves by a factor towards the norm at which that share is
`QUANTILE`.

The paper starts from a guess. Here the first round starts it: its clip is the median over the replies of the mean
update's norm, which a minority of false replies cannot move far. A count is at most the reply's users, so that
a share q of attackers moves the quantile by at most q.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from statistics import median

from tegu.core.data.tree import norm
from tegu.wire import Reply

__all__ = ["QUANTILE", "RATE", "first_clip", "next_clip"]

QUANTILE = 0.5  # share of users within the clip; the paper finds the median good on all of its tasks
RATE = 0.2  # of the paper: the clip grows by at most a tenth in a round, and shrinks by as much


def first_clip(replies: Sequence[Reply]) -> float:
    """The median of the norms of the replies' mean updates; infinite if it would be 0.

    Args:
        replies: at least one, each with users.
    """
    found = median(norm(reply.update) / reply.users for reply in replies)
    return found if found > 0 else math.inf


def next_clip(clip: float, replies: Sequence[Reply]) -> float:
    """The clip of the next round; the same if no reply has counted.

    Args:
        clip: of this round, finite.
        replies: of this round.
    """
    counted = [(reply.within, reply.users) for reply in replies if reply.within is not None and reply.users]
    users = sum(number for _, number in counted)
    if not users:
        return clip
    share = sum(within for within, _ in counted) / users
    return clip * math.exp(-RATE * (share - QUANTILE))
