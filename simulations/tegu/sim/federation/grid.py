"""Flower's Grid inside this process: a round's messages become a few batched graph calls.

Nodes hold users. One reply with the sum of their users' updates stands for all nodes of a round, since a message for
each of a hundred users would cost more than the round itself. By default a single node holds all users, and trains as
many of them as the cohort has.
"""

from __future__ import annotations

import itertools
import math
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
from tegu.core.privacy.noise import add_noise, normal_of_seed
from tegu.core.sampling.episode import draw_users
from tegu.sim.data.cohort import Cohort, draw_cohort
from tegu.sim.data.population import Population
from tegu.sim.engine import Engine
from tegu.sim.federation.evaluation_round import evaluate_batched, select_users, training_users
from tegu.wire import (
    Reply,
    RoundConfig,
    evaluation_reply_content,
    packed_reply_content,
    read_evaluation_request,
    read_training_request,
    training_reply_content,
)

__all__ = [
    "NO_USERS",
    "InProcessGrid",
    "MessageHandler",
    "answer_with",
    "draw_round",
    "flower_identity",
    "noised_as_devices",
    "partitions",
]

MessageHandler = Callable[[Sequence[Message]], list[Message]]
"""From a round's messages to replies: one for all messages, or one for each."""

_APP_FAILED = 2  # the error code of Flower's own nodes when their app raises
NO_USERS = (
    "none of the cohort's users has more than {} rows: add users with more rows, or lower min_support "
    "(rows with equal x, group or order stay together)"
)


@contextmanager
def flower_identity() -> Iterator[None]:
    """Set the identity that Flower's messages carry, and restore the former one afterwards.

    Outside a SuperLink no identity is set.
    """
    names = ("_task_id", "_run_id", "_node_id")
    before = {name: getattr(TaskIdentity, name) for name in names}
    TaskIdentity.task_id, TaskIdentity.run_id, TaskIdentity.node_id = 1, 1, 1
    try:
        yield
    finally:
        for name, value in before.items():
            setattr(TaskIdentity, name, value)


class InProcessGrid(Grid):
    """A Grid in which a function replies for all nodes.

    Args:
        nodes: number of nodes; their ids are 1, 2, ...
        answer: from a round's messages to replies, one for all messages or one for each.
    """

    def __init__(self, nodes: int, answer: MessageHandler) -> None:
        self._nodes, self._answer = range(1, nodes + 1), answer
        self._run = Run.create_empty(1)
        self._replies: dict[str, list[Message]] = {}
        self._tickets = itertools.count(1)

    def __repr__(self) -> str:
        return f"InProcessGrid(nodes={len(self._nodes)})"

    def set_run(self, run: Run) -> None:
        """Store the run."""
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
        """The ids of all nodes."""
        return list(self._nodes)

    def push_messages(self, messages: Iterable[Message]) -> Iterable[str]:
        """Compute the replies at once, and keep them until they are pulled."""
        batch = list(messages)
        ids = [str(next(self._tickets))] if batch else []
        if batch:
            self._replies[ids[0]] = self._answer(batch)
        return ids

    def pull_messages(self, message_ids: Iterable[str]) -> Iterable[Message]:
        """The replies to pushed messages; each is returned once."""
        return [reply for key in message_ids for reply in self._replies.pop(key, [])]

    def send_and_receive(self, messages: Iterable[Message], *, timeout: float | None = None) -> Iterable[Message]:
        """The replies to a round's messages; an empty list if there are no messages."""
        del timeout
        batch = list(messages)
        return self._answer(batch) if batch else []


def partitions(population: Population, nodes: int) -> list[Array]:
    """For each node int64 `[users]`, indices of its users, which are dealt out in turn."""
    return [np.arange(node, len(population), nodes) for node in range(nodes)]


def answer_with(
    engine: Engine,
    population: Population,
    nodes: int,
    calibration: Population | None = None,
    metrics: Mapping[str, Metric] = METRICS,
    start: Tree | None = None,
) -> MessageHandler:
    """A function that replies to a round's messages by running the engine over the users of all addressed nodes.

    Updates in full precision are summed into one reply. Rounded updates need one reply per node, because each node
    carries its own rounding error over to the next round.

    Args:
        engine: runs the learner.
        population: the users, dealt out to the nodes.
        nodes: number of nodes.
        calibration: calibration users, who take part in every evaluation round. None means that the round's share
            draws them from `population`, as on devices.
        metrics: the metrics that evaluation rounds may name.
        start: holds the learner's fixed parameters, which requests leave out; as on a device, where the bundle holds
            them. None if there are none.
    """
    fixed = {name: (start or {})[name] for name in engine.manifest.fixed_parameters}
    dealt = partitions(population, nodes)
    residuals: dict[int, Tree] = {}

    def answer(messages: Sequence[Message]) -> list[Message]:
        if messages[0].metadata.message_type == MessageType.EVALUATE:
            return [evaluation_reply(messages)]
        received, config = read_training_request(messages[0].content)
        meta = {**received, **fixed}
        groups = [messages] if config.update_precision == "float32" else [[message] for message in messages]
        return [training_reply(meta, config, group) for group in groups]

    def evaluation_reply(messages: Sequence[Message]) -> Message:
        received, request = read_evaluation_request(messages[0].content)
        meta = {**received, **fixed}
        users = np.concatenate([dealt[message.metadata.dst_node_id - 1] for message in messages])
        selector = select_users(population.subset(np.sort(users)), calibration, request)
        sums = evaluate_batched(engine, meta, selector, request, metrics)
        return Message(evaluation_reply_content(sums), reply_to=messages[0])

    def training_reply(meta: Tree, config: RoundConfig, messages: Sequence[Message]) -> Message:
        addressed = [message.metadata.dst_node_id for message in messages]
        users_by_node = [training_users(population, dealt[node - 1], config) for node in addressed]
        if not any(len(users) for users in users_by_node):
            return Message(training_reply_content(Reply({}, 0)), reply_to=messages[0])
        cohort = draw_round(population, users_by_node, config)
        users = len(cohort.users)
        if not users:
            return Message(Error(_APP_FAILED, NO_USERS.format(config.episodes.min_support)), reply_to=messages[0])
        total = noised_as_devices(engine.sum_updates(meta, cohort, config.clip), config, addressed)
        if config.update_precision == "float32":
            return Message(training_reply_content(Reply(total, users)), reply_to=messages[0])
        (node,) = addressed
        sent, residuals[node] = pack_with_feedback(total, residuals.get(node), config.update_precision)
        return Message(packed_reply_content(sent, users), reply_to=messages[0])

    return answer


def noised_as_devices(total: Tree, config: RoundConfig, nodes: Sequence[int]) -> Tree:
    """The sum of several nodes' sums, each with the round's local noise. Seed, round and nodes determine it."""
    if not config.local_noise:
        return total
    deviation = config.local_noise * config.clip * math.sqrt(len(nodes))
    return add_noise(total, deviation, normal_of_seed("local", config.seed, config.round, *nodes))


def draw_round(population: Population, users_by_node: Sequence[Array], config: RoundConfig) -> Cohort:
    """The episodes of the round; each node draws among its own users."""
    chosen = [
        users[draw_users(len(users), config.users_per_node, config.seed, config.round)] for users in users_by_node
    ]
    return draw_cohort(population, np.concatenate(chosen), config.episodes, config.seed, config.round)
