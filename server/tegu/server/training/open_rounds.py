"""The rounds whose replies may still count: what each has asked its nodes for, and the checks of their replies."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from flwr.app import Message, MessageType

from tegu.core.data.tree import Tree
from tegu.server.replies.refusal import Refusal
from tegu.server.replies.training import Asked, checked_reply, read_all
from tegu.server.training.calibration_plan import LeftOut
from tegu.server.training.plan import TrainingPlan
from tegu.wire import Reply, RoundConfig, to_record, training_request_content

__all__ = ["OpenRounds"]


class OpenRounds:
    """Opens rounds, and reads their replies. A synchronous run has one open round at a time.

    Args:
        plan: of the run.
        left_out: users who take no part.
        joint: whether one reply stands for all nodes, so that its sender and its number of users are not checked.
    """

    def __init__(self, plan: TrainingPlan, left_out: LeftOut, *, joint: bool) -> None:
        self._plan, self._left_out, self._joint = plan, left_out, joint
        self._asked: dict[str, Asked] = {}
        self._nodes: dict[str, set[int]] = {}

    def __repr__(self) -> str:
        return f"OpenRounds({', '.join(self._asked) or 'none'})"

    def open(self, number: int, trained: Tree, clip: float) -> Callable[[int], Message]:
        """Begin a round: from a node to its message. All messages share one content, which nobody may modify.

        Args:
            number: of the round, from 1.
            trained: the parameters to train.
            clip: largest norm of one user's update.
        """
        plan, group = self._plan, str(number)
        users = plan.cohort.users_per_node
        settings = RoundConfig(number, plan.seed, clip, plan.episodes, users, plan.updates.precision, *self._left_out)
        content = training_request_content(to_record(trained), settings)
        oldest = number - plan.replies.most_stale if plan.replies.buffer else number
        for old in [known for known in self._asked if int(known) < oldest]:
            del self._asked[old], self._nodes[old]
        nodes = self._nodes[group] = set[int]()
        self._asked[group] = Asked(clip, users, nodes, group)

        def message_to(node: int) -> Message:
            nodes.add(node)
            return Message(content, dst_node_id=node, message_type=MessageType.TRAIN, group_id=group)

        return message_to

    def nodes(self, number: int) -> frozenset[int]:
        """Ids of the nodes that a round has asked; none where one reply stands for all."""
        return frozenset() if self._joint else frozenset(self._nodes.get(str(number), ()))

    def read(
        self, number: int, replies: Iterable[Message], like: Tree, clip: float
    ) -> tuple[dict[int, Reply], list[Refusal]]:
        """Checked replies by node, and the others.

        Args:
            number: of the round. Replies that name no open round are taken for its own, and so refused.
            replies: messages.
            like: a tree with the layout of the update.
            clip: of the round.
        """
        this = self._asked.get(str(number), Asked(clip))

        def asked(message: Message) -> Asked:
            return Asked(clip) if self._joint else self._asked.get(message.metadata.group_id, this)

        return read_all(replies, asked, lambda message: checked_reply(message, like, asked(message)))
