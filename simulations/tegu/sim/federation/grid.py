"""Flower's Grid inside this process: a round's messages become a few batched graph calls.

Nodes hold users, and all of a round's nodes are answered by one reply, which carries the sum of their users' updates:
sums add up, and a message for each of a hundred users would cost more than the round. So by default one node holds
everybody, and is asked for as many users as a round has.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager

import numpy as np
from flwr.app import Error, Message, MessageType, RecordDict
from flwr.serverapp import Grid
from flwr.supercore.run import Run
from flwr.supercore.task_identity import TaskIdentity

from tegu.core.compression.error_feedback import pack_with_feedback
from tegu.core.data.batch import Array
from tegu.core.data.tree import Tree
from tegu.core.metrics import METRICS, Metric
from tegu.core.sampling.episode import draw_users
from tegu.sim.data.cohort import Cohort, draw_cohort
from tegu.sim.data.population import Population
from tegu.sim.engine import Engine
from tegu.sim.federation.evaluation_round import answers_of, asked_of, training
from tegu.wire import (
    Reply,
    RoundConfig,
    evaluation_reply_content,
    packed_reply_content,
    read_evaluation_request,
    read_training_request,
    training_reply_content,
)

__all__ = ["Answer", "InProcessGrid", "answer_with", "flower_identity", "partitions"]

Answer = Callable[[Sequence[Message]], list[Message]]
_FAILED = 2  # what Flower's own nodes reply when their app raises
_NOBODY = (
    "none of the cohort's users has more than {} rows: bring users with more, or lower min_support "
    "(rows with equal x, group or order stay together)"
)


@contextmanager
def flower_identity() -> Iterator[None]:
    """Flower's messages name the process that makes them; outside a SuperLink nobody has set that name."""
    names = ("_task_id", "_run_id", "_node_id")
    before = {name: getattr(TaskIdentity, name) for name in names}
    TaskIdentity.task_id, TaskIdentity.run_id, TaskIdentity.node_id = 1, 1, 1
    try:
        yield
    finally:
        for name, value in before.items():
            setattr(TaskIdentity, name, value)


class InProcessGrid(Grid):
    """A Grid whose nodes are answered by a function.

    Args:
        nodes: how many; their ids are 1, 2, ...
        answer: from a round's messages to replies, one for them all or one for each.
    """

    def __init__(self, nodes: int, answer: Answer) -> None:
        self._nodes, self._answer = range(1, nodes + 1), answer
        self._run = Run.create_empty(1)
        self._replies: dict[str, list[Message]] = {}
        self._tickets = itertools.count(1)

    def set_run(self, run: Run) -> None:
        """Keep the run."""
        self._run = run

    @property
    def run(self) -> Run:
        """The run."""
        return self._run

    def create_message(
        self, content: RecordDict, message_type: str, dst_node_id: int, group_id: str, ttl: float | None = None
    ) -> Message:
        """A message for one node."""
        return Message(content, dst_node_id, message_type, group_id=group_id, ttl=ttl)

    def get_node_ids(self) -> Iterable[int]:
        """All nodes."""
        return list(self._nodes)

    def push_messages(self, messages: Iterable[Message]) -> Iterable[str]:
        """Answer at once and keep the reply until it is pulled."""
        batch = list(messages)
        ids = [str(next(self._tickets))] if batch else []
        if batch:
            self._replies[ids[0]] = self._answer(batch)
        return ids

    def pull_messages(self, message_ids: Iterable[str]) -> Iterable[Message]:
        """Replies to what was pushed."""
        return [reply for key in message_ids for reply in self._replies.pop(key, [])]

    def send_and_receive(self, messages: Iterable[Message], *, timeout: float | None = None) -> Iterable[Message]:
        """The replies to a round's messages; none for none."""
        del timeout
        batch = list(messages)
        return self._answer(batch) if batch else []


def partitions(population: Population, nodes: int) -> list[Array]:
    """Users' indices by node, dealt out in turn."""
    return [np.arange(node, len(population), nodes) for node in range(nodes)]


def answer_with(
    engine: Engine,
    population: Population,
    nodes: int,
    calibration: Population | None = None,
    metrics: Mapping[str, Metric] = METRICS,
) -> Answer:
    """A function that answers a round's messages by running the engine over the users of all the nodes addressed.

    Updates in full precision add up to one reply. Rounded ones are each node's own, with what rounding took the last
    time.

    Args:
        engine: runs the learner.
        population: users, dealt out to the nodes.
        nodes: how many there are.
        calibration: users who calibrate and answer every evaluation round; where it is None, those of `population`
            whom the round's share draws, as on devices.
        metrics: what evaluation rounds may ask for, by name.
    """
    dealt = partitions(population, nodes)
    residuals: dict[int, Tree] = {}

    def answer(messages: Sequence[Message]) -> list[Message]:
        if messages[0].metadata.message_type == MessageType.EVALUATE:
            return [evaluated(messages)]
        meta, config = read_training_request(messages[0].content)
        together = [messages] if config.update_precision == "float32" else [[message] for message in messages]
        return [reply(meta, config, group) for group in together]

    def evaluated(messages: Sequence[Message]) -> Message:
        meta, inquiry = read_evaluation_request(messages[0].content)
        users = np.concatenate([dealt[message.metadata.dst_node_id - 1] for message in messages])
        people = asked_of(population.subset(np.sort(users)), calibration, inquiry)
        found = answers_of(engine, meta, people, inquiry, metrics)
        return Message(evaluation_reply_content(found), reply_to=messages[0])

    def reply(meta: Tree, config: RoundConfig, messages: Sequence[Message]) -> Message:
        asked = [message.metadata.dst_node_id for message in messages]
        each = [training(population, dealt[node - 1], config) for node in asked]
        if not any(len(users) for users in each):
            return Message(training_reply_content(Reply({}, 0)), reply_to=messages[0])
        cohort = _cohort(population, each, config)
        users = len(cohort.users)
        if not users:
            return Message(Error(_FAILED, _NOBODY.format(config.episodes.min_support)), reply_to=messages[0])
        total = engine.sum_updates(meta, cohort, config.clip)
        if config.update_precision == "float32":
            return Message(training_reply_content(Reply(total, users)), reply_to=messages[0])
        (node,) = asked
        sent, residuals[node] = pack_with_feedback(total, residuals.get(node), config.update_precision)
        return Message(packed_reply_content(sent, users), reply_to=messages[0])

    return answer


def _cohort(population: Population, nodes: Sequence[Array], config: RoundConfig) -> Cohort:
    """What the users of these nodes draw, each node choosing among its own."""
    chosen = [users[draw_users(len(users), config.users_per_node, config.seed, config.round)] for users in nodes]
    return draw_cohort(population, np.concatenate(chosen), config.episodes, config.seed, config.round)
