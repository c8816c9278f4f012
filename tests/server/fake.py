"""A Grid of plain functions, and trees of random numbers."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import AbstractContextManager

import numpy as np
from flwr.app import Error, Message, RecordDict
from flwr.serverapp import Grid
from flwr.supercore.run import Run

from tegu.core.data.tree import Tree
from tegu.server.progress import RoundProgress
from tegu.server.training.strategy import MetaStrategy
from tegu.sim.federation.grid import flower_identity
from tegu.wire import Reply, RoundConfig, read_training_request, to_record, training_reply_content

Node = Callable[[Tree, RoundConfig], Reply]
SHAPES: Mapping[str, tuple[int, ...]] = {"weight": (2, 3), "bias": (3,), "scale": ()}


def random_tree(seed: int, shapes: Mapping[str, tuple[int, ...]] = SHAPES) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(seed)
    return {name: np.asarray(rng.normal(size=shape), np.float32) for name, shape in shapes.items()}


def same_bits(a: Tree, b: Tree) -> bool:
    return a.keys() == b.keys() and all(
        (a[name].dtype, a[name].shape, a[name].tobytes()) == (b[name].dtype, b[name].shape, b[name].tobytes())
        for name in a
    )


class FunctionGrid(Grid):
    """A grid with a node for each function. A function that raises gives an error reply. The order is reversed."""

    def __init__(self, nodes: Mapping[int, Node]) -> None:
        self.nodes = dict(nodes)
        self.cohorts: list[list[int]] = []
        self.configs: list[RoundConfig] = []

    def set_run(self, run: Run) -> None:
        raise NotImplementedError

    @property
    def run(self) -> Run:
        raise NotImplementedError

    def create_message(
        self, content: RecordDict, message_type: str, dst_node_id: int, group_id: str, ttl: float | None = None
    ) -> Message:
        raise NotImplementedError

    def get_node_ids(self) -> Iterable[int]:
        return list(self.nodes)[::-1]

    def push_messages(self, messages: Iterable[Message]) -> Iterable[str]:
        raise NotImplementedError

    def pull_messages(self, message_ids: Iterable[str]) -> Iterable[Message]:
        raise NotImplementedError

    def send_and_receive(self, messages: Iterable[Message], *, timeout: float | None = None) -> Iterable[Message]:
        batch = list(messages)
        if batch:
            self.cohorts.append([message.metadata.dst_node_id for message in batch])
            self.configs.append(read_training_request(batch[0].content)[1])
        return [self.reply(message) for message in batch[::-1]]

    def reply(self, message: Message) -> Message:
        node = self.nodes[message.metadata.dst_node_id]
        try:
            return Message(training_reply_content(node(*read_training_request(message.content))), reply_to=message)
        except ZeroDivisionError as error:
            return Message(Error(2, str(error)), reply_to=message)


def answer_by(nodes: Mapping[int, Node]) -> Callable[[Sequence[Message]], list[Message]]:
    """The replies of such nodes to training messages, one for each."""
    grid = FunctionGrid(nodes)
    return lambda messages: [grid.reply(message) for message in messages]


def run_rounds(strategy: MetaStrategy, grid: Grid, meta: Tree, rounds: int) -> None:
    identity: AbstractContextManager[None] = flower_identity()
    with identity:
        strategy.start(grid, to_record(meta), num_rounds=rounds)


class Recorded:
    """Progress that stores every notification, and calls a function after every round."""

    def __init__(self, after: Callable[[RoundProgress], None] = lambda progress: None) -> None:
        self.stages: list[str] = []
        self.rounds: list[RoundProgress] = []
        self._after = after

    def stage(self, text: str) -> None:
        self.stages.append(text)

    def round(self, progress: RoundProgress) -> None:
        self.rounds.append(progress)
        self._after(progress)
