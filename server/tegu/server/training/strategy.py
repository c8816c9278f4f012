"""Reptile-style federated meta-learning as a Flower strategy.

One object for the in-process grid, Flower's simulation and a SuperLink:
`meta = outer(meta, sum of clipped updates / number of users)`.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Iterable, Sequence
from functools import reduce
from pathlib import Path

import numpy as np
from flwr.app import ArrayRecord, ConfigRecord, Message, MessageType, MetricRecord
from flwr.serverapp import Grid
from flwr.serverapp.strategy import Strategy

from tegu.core.data.tree import Tree, add, check_same_layout, scale
from tegu.core.errors import DataError, FederationError
from tegu.core.sampling.episode import draw_users
from tegu.server.evaluation.round import evaluation_messages, sum_replies
from tegu.server.evaluation.validation import ValidationHistory, Validations
from tegu.server.progress import SILENT, Progress, RoundProgress
from tegu.server.training.checkpoint import Checkpoint, write_checkpoint
from tegu.server.training.outer_optimiser import OuterOptimiser
from tegu.server.training.plan import EVERYBODY_TRAINS, LeftOut, TrainingPlan
from tegu.wire import Reply, RoundConfig, payload_bytes, read_training_reply, to_record, training_request_content

__all__ = ["MetaStrategy"]

_log = logging.getLogger(__name__)


class MetaStrategy(Strategy):
    """Federated meta-learning of an initialisation.

    Args:
        outer: the parameters and what moves them.
        plan: of the run; of its cohort, the number of nodes that are asked and how many of their users take part.
        left_out: users who take no part in this training.
        checkpoints: folder for a checkpoint after every round; None for none.
        done: rounds that were run before, when a run is resumed.
        progress: told of every round, after a look at it.
        looks: who judges the parameters while the run goes on; None for nobody. Once its patience has run out, the
            rounds that are left ask nobody for anything.
    """

    def __init__(
        self,
        outer: OuterOptimiser,
        plan: TrainingPlan,
        *,
        left_out: LeftOut = EVERYBODY_TRAINS,
        checkpoints: Path | None = None,
        done: int = 0,
        progress: Progress = SILENT,
        looks: Validations | None = None,
    ) -> None:
        self._outer, self._plan, self._left_out, self._looks = outer, plan, left_out, looks
        self._checkpoints, self._done, self._progress = checkpoints, done, progress
        self._last, self._users, self._user_rounds = done, 0, 0
        self._began = time.perf_counter()

    def summary(self) -> None:
        """Log what the run will do."""
        _log.info("Tegu: %s", self._plan)

    def configure_train(
        self, server_round: int, arrays: ArrayRecord, config: ConfigRecord, grid: Grid
    ) -> Iterable[Message]:
        """One message to each node of the round's cohort; Flower counts `server_round` from 1 in every run.

        Raises:
            FederationError: too few nodes are connected after `wait_seconds`.
        """
        del config
        if self._stopped():
            return []
        number = self._done + server_round
        plan = self._plan
        precision, clip, users = plan.updates.precision, plan.updates.clip, plan.cohort.users_per_node
        asked = RoundConfig(number, plan.seed, clip, plan.episodes, users, precision, *self._left_out)
        content = training_request_content(arrays, asked)
        return [
            Message(content, dst_node_id=node, message_type=MessageType.TRAIN, group_id=str(number))
            for node in self._cohort(number, grid)
        ]

    def aggregate_train(
        self, server_round: int, replies: Iterable[Message]
    ) -> tuple[ArrayRecord | None, MetricRecord | None]:
        """Move the parameters by the mean update over all users that the replies stand for; by nobody's, not at all.

        Raises:
            FederationError: no reply can be used.
        """
        if self._stopped():
            return None, None
        number = self._done + server_round
        received = sorted(replies, key=lambda reply: reply.metadata.src_node_id)
        good = self._usable(number, received)
        users = sum(reply.users for reply in good)
        meta = self._outer.step(scale(_total(good), 1 / users), number) if users else self._outer.meta
        self._users = users
        if self._looks is None or not self._looks.due(number):
            self._end(number, meta)
        received_bytes = sum(payload_bytes(reply.content) for reply in received if not reply.has_error())
        return to_record(meta), MetricRecord({"users": users, "bytes": received_bytes})

    def configure_evaluate(
        self, server_round: int, arrays: ArrayRecord, config: ConfigRecord, grid: Grid
    ) -> Iterable[Message]:
        """Where a look is due, its questions to all connected nodes."""
        del config
        number, looks = self._done + server_round, self._looks
        if looks is None or looks.stopped or not looks.due(number):
            return []
        looks.begin()
        return evaluation_messages(sorted(grid.get_node_ids()), arrays, looks.inquiry, f"round {number}")

    def aggregate_evaluate(self, server_round: int, replies: Iterable[Message]) -> MetricRecord | None:
        """What a look has found; one that nobody answers is passed over."""
        number, looks = self._done + server_round, self._looks
        if looks is None or looks.stopped or not looks.due(number):
            return None
        meta, look = self._outer.meta, None
        try:
            look = looks.take(number, sum_replies(replies, looks.inquiry, f"round {number}"), meta)
        except FederationError as error:
            _log.warning("round %d is not judged: %s", number, error)
        self._end(number, meta)
        return None if look is None else MetricRecord({name: float(value) for name, value in look._asdict().items()})

    @property
    def kept(self) -> tuple[int, Tree]:
        """The round whose parameters are kept, and these: see `LookRule.patience`."""
        best = None if self._looks is None else self._looks.kept
        return (self._last, self._outer.meta) if best is None else (best.round, best.meta)

    @property
    def user_rounds(self) -> int:
        """Users' updates since the run began or was resumed."""
        return self._user_rounds

    def _stopped(self) -> bool:
        return self._looks is not None and self._looks.stopped

    def _end(self, number: int, meta: Tree) -> None:
        self._last = number
        if self._checkpoints is not None:
            history = ValidationHistory() if self._looks is None else self._looks.history
            write_checkpoint(self._checkpoints, Checkpoint(number, meta, self._outer.state(), history))
        self._user_rounds += self._users
        self._progress.round(
            RoundProgress(
                round=number,
                rounds=self._plan.rounds,
                users=self._users,
                user_rounds=self._user_rounds,
                seconds=time.perf_counter() - self._began,
                meta=meta,
                look=self._looks.found[-1] if self._looks and self._looks.found else None,
            )
        )

    def _cohort(self, number: int, grid: Grid) -> Sequence[int]:
        cohort = self._plan.cohort
        deadline = time.monotonic() + cohort.wait_seconds
        while len(nodes := sorted(grid.get_node_ids())) < cohort.size:
            if time.monotonic() >= deadline:
                raise FederationError(
                    f"{len(nodes)} nodes are connected and the cohort is {cohort.size}: "
                    "connect more nodes, or make the cohort smaller"
                )
            time.sleep(0.1)
        return [nodes[place] for place in draw_users(len(nodes), cohort.size, self._plan.seed, number)]

    def _usable(self, number: int, replies: Sequence[Message]) -> list[Reply]:
        like = self._outer.meta
        good: list[Reply] = []
        reasons: list[str] = []
        for message in replies:
            source = message.metadata.src_node_id
            try:
                good.append(_checked(read_training_reply(message, like), like))
            except (FederationError, DataError) as error:
                reasons.append(f"node {source}: {error}")
                _log.warning("round %d: a reply is left out: %s", number, reasons[-1])
        if not good:
            raise FederationError(
                f"round {number} has no usable reply: {'; '.join(reasons) or 'nobody answered in time'}"
            )
        return good


def _total(replies: Sequence[Reply]) -> Tree:
    return reduce(add, [reply.update for reply in replies if reply.users])


def _checked(reply: Reply, like: Tree) -> Reply:
    if not reply.users and not reply.update:
        return reply  # all of the node's users calibrate
    check_same_layout(like, reply.update)
    if reply.users < 1 or not all(np.isfinite(array).all() for array in reply.update.values()):
        raise FederationError(f"an update of {reply.users} users, or one that is not finite: expected finite sums")
    return reply
