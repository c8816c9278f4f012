"""How many users a reply may count as, where its node was asked for all of its users and nobody can check the number.

No reply counts for more than four times the median number of users of the round's replies. A reply that names more
keeps its mean and loses weight. A node that lies about its users then gains at most a factor of four.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from statistics import median

from tegu.core.data.tree import scale
from tegu.wire import Reply

__all__ = ["MOST", "limit_users", "most_users"]

MOST = 4  # times the median


def most_users(users: Collection[int]) -> int:
    """The largest number of users that one reply may count as.

    Args:
        users: number of users of each reply that has any.
    """
    return max(1, int(MOST * median(users))) if users else 0


def limit_users(replies: Mapping[int, Reply]) -> dict[int, Reply]:
    """The replies by node, each with its mean update and at most as many users as it may count as."""
    most = most_users([reply.users for reply in replies.values() if reply.users])
    return {node: _limited(reply, most) for node, reply in replies.items()}


def _limited(reply: Reply, most: int) -> Reply:
    if reply.users <= most:
        return reply
    share = most / reply.users
    within = None if reply.within is None else round(reply.within * share)
    return Reply(scale(reply.update, share), most, within)
