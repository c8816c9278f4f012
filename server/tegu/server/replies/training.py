"""Checks of a training reply. A reply that passes is finite, of the model's layout, and bounded in users and norm."""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
from flwr.app import Message

from tegu.core.data.tree import Tree, check_same_layout, norm, scale
from tegu.core.errors import DataError, FederationError
from tegu.server.replies.refusal import Refusal, RefusedReplyError
from tegu.wire import Reply, describe_failure, read_training_reply

__all__ = ["Asked", "checked_reply", "read_all", "within_clip"]

T = TypeVar("T")
_SLACK = 2.0  # rounding of packed updates and its feedback lengthen a sum; nothing honest doubles it
_ROUNDING = 1e-4  # relative: a sum of float32 updates that were clipped exactly is longer by less


@dataclass(frozen=True)
class Asked:
    """What a round has asked its nodes for.

    Attributes:
        clip: largest norm of one user's update; infinite for no clipping.
        users: largest number of users of one reply; 0 if the node was asked for all of its users.
        nodes: ids of the nodes that were asked; None if one reply stands for all of them, as in a simulation.
        group: the round, as its messages name it.
        noise: largest norm of the noise that a device adds to its sum.
    """

    clip: float = math.inf
    users: int = 0
    nodes: Collection[int] | None = None
    group: str = ""
    noise: float = 0.0


def read_all(
    messages: Iterable[Message], asked: Callable[[Message], Asked], read: Callable[[Message], T]
) -> tuple[dict[int, T], list[Refusal]]:
    """The replies that can be used, by node in ascending order, and the others.

    Args:
        messages: the replies.
        asked: from a message to what its round has asked for.
        read: a message's contents; raises `RefusedReplyError` where they cannot count.
    """
    usable: dict[int, T] = {}
    refused: list[Refusal] = []
    for message in sorted(messages, key=lambda reply: reply.metadata.src_node_id):
        node = message.metadata.src_node_id
        try:
            _check_sender(message, asked(message), usable)
            usable[node] = read(message)
        except RefusedReplyError as error:
            refused.append(Refusal(node, error.code, str(error)))
    return usable, refused


def _check_sender(message: Message, asked: Asked, usable: Collection[int]) -> None:
    node, group = message.metadata.src_node_id, message.metadata.group_id
    if asked.nodes is None:
        return
    if node not in asked.nodes or group != asked.group:
        raise RefusedReplyError("not-asked", f"a reply to {group!r}: expected one of {len(asked.nodes)} asked nodes")
    if node in usable:
        raise RefusedReplyError("duplicate", "a second reply of this node: expected one")


def checked_reply(message: Message, like: Tree, asked: Asked) -> Reply:
    """The reply in a message, checked.

    Args:
        message: from a node.
        like: a tree with the layout of the update.
        asked: by the round.

    Raises:
        RefusedReplyError: the reply cannot count.
    """
    if message.has_error():
        raise RefusedReplyError("failed", f"the participant failed: {describe_failure(message.error.reason)}")
    try:
        reply = read_training_reply(message, like)
    except (FederationError, DataError) as error:
        raise RefusedReplyError("unreadable", str(error)) from error
    if not reply.users and not reply.update:
        return reply  # all users of the node calibrate
    try:
        check_same_layout(like, reply.update)
    except DataError as error:
        raise RefusedReplyError("layout", str(error)) from error
    _check_users(reply, asked)
    broken = [name for name, array in reply.update.items() if not np.isfinite(array).all()]
    if broken:
        raise RefusedReplyError(
            "not-finite",
            f"training diverged: the update of {broken[0]!r} by {reply.users} users is not finite; lower the learner's "
            "lr or steps or the outer lr, limit updates by UpdatePlan(clip=1.0), or bring inputs, targets or weights "
            "nearer to 1",
        )
    _check_norm(reply, asked)
    return reply


def _check_users(reply: Reply, asked: Asked) -> None:
    if reply.users < 1:
        raise RefusedReplyError("users", f"the reply is of {reply.users} users: expected at least 1")
    if asked.users and reply.users > asked.users:
        raise RefusedReplyError("users", f"the reply is of {reply.users} users: at most {asked.users} were asked for")
    if reply.within is not None and not 0 <= reply.within <= reply.users:
        raise RefusedReplyError(
            "users", f"{reply.within} of {reply.users} users are within the clip: expected from 0 to all of them"
        )


def _check_norm(reply: Reply, asked: Asked) -> None:
    most, found = reply.users * asked.clip + asked.noise, norm(reply.update)
    if not math.isfinite(found):
        raise RefusedReplyError("too-long", "the update's norm overflows: expected numbers nearer to 1")
    if found > _SLACK * most:
        raise RefusedReplyError(
            "too-long",
            f"the update of {reply.users} users has norm {found:.4g}: updates clipped to {asked.clip:.4g} have at most "
            f"{most:.4g} together",
        )


def within_clip(reply: Reply, clip: float, noise: float = 0.0) -> Reply:
    """The reply with a norm of at most users times the clip, and the noise: scaled down where it is longer.

    A reply that rounding has lengthened still counts, and an attacker gains nothing over one who keeps the limit.
    """
    found, most = norm(reply.update), reply.users * clip + noise
    return reply._replace(update=scale(reply.update, most / found)) if found > most * (1 + _ROUNDING) else reply
