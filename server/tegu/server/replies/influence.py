"""How much a reply may count for, where nobody can check what it says.

A node that was asked for all of its users names their number itself. No reply counts for more than twice the number
that four fifths of the round's replies do not exceed. A reply that names more keeps its mean and loses weight. As long
as fewer than a fifth of the nodes lie, a lie gains at most a factor of two over the largest of the others.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping

from tegu.core.data.tree import scale
from tegu.wire import Reply

__all__ = ["QUANTILE", "limit_users", "most_users", "upper_place"]

QUANTILE = 0.8  # of replies; those above it may be false
_MOST = 2  # times the number of users at the quantile


def upper_place(number: int) -> int:
    """The place of the quantile among so many sorted values, from 0: with three values, the middle one."""
    return int(QUANTILE * (number - 1))


def most_users(users: Collection[int], times: int = _MOST) -> int:
    """The largest number of users that one reply may count as.

    Args:
        users: number of users of each reply that has any.
        times: so many times the number at the quantile.
    """
    return times * sorted(users)[upper_place(len(users))] if users else 0


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
