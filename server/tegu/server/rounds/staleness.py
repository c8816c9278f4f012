"""What an answer still counts for when the parameters have moved on since it was asked for.

Nguyen et al. 2022, "Federated learning with buffered asynchronous aggregation" (FedBuff), arXiv:2106.06639, weight an
update of staleness s by 1 / sqrt(1 + s) and divide by the number of updates. No weight is above 1, so that no user
moves the parameters further than in a synchronous round.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

from tegu.core.data.tree import scale
from tegu.wire import Reply

__all__ = ["discounted", "weight"]


def weight(staleness: int) -> float:
    """The weight of an update whose parameters are so many steps old."""
    return 1 / math.sqrt(1 + staleness)


def discounted(replies: Mapping[int, Reply], stale: Mapping[int, int]) -> dict[int, Reply]:
    """The replies with their sums weighted and their numbers of users as they are.

    Args:
        replies: by node.
        stale: the staleness by node; 0 where it is absent.
    """
    return {node: _discounted(reply, stale.get(node, 0)) for node, reply in replies.items()}


def _discounted(reply: Reply, staleness: int) -> Reply:
    return reply._replace(update=scale(reply.update, weight(staleness))) if staleness else reply
