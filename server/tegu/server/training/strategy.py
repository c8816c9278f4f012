"""Reptile-style federated meta-learning as a Flower strategy.

The in-process grid, Flower's simulation and a SuperLink use the same strategy. A round computes
`meta = outer(meta, sum of clipped updates / number of users)`.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterable, Sequence
from functools import reduce
from pathlib import Path
from typing import Any

import numpy as np
from flwr.app import ArrayRecord, ConfigRecord, Message, MessageType, MetricRecord
from flwr.serverapp import Grid
from flwr.serverapp.strategy import Strategy

from tegu.core.data.tree import Tree, add, check_same_layout, scale, trained_part
from tegu.core.errors import DataError, FederationError
from tegu.core.sampling.episode import draw_users
from tegu.server.evaluation.early_stopping import ValidationHistory, Validations
from tegu.server.evaluation.round import evaluation_messages, sum_replies
from tegu.server.progress import SILENT, Progress, RoundProgress
from tegu.server.training.automatic import settled
from tegu.server.training.calibration_plan import ALL_USERS_TRAIN, LeftOut
from tegu.server.training.checkpoint import Checkpoint, write_checkpoint
from tegu.server.training.outer_optimiser import OuterOptimiser
from tegu.server.training.plan import TrainingPlan
from tegu.wire import Reply, RoundConfig, payload_bytes, read_training_reply, to_record, training_request_content

__all__ = ["MetaStrategy"]

_log = logging.getLogger(__name__)


class MetaStrategy(Strategy):
    """Federated meta-learning of an initialisation.

    Args:
        outer: the parameters and the optimiser that updates them.
        plan: plan of the run.
        left_out: users who take no part in this training.
        checkpoints: folder for a checkpoint after every round; None for no checkpoints.
        done: number of rounds that a resumed run has already run.
        progress: notified after every round and its validation.
        validations: those of the run; None for no validation. After patience has run out, the remaining rounds
            send no messages.
        journal: told what happened in each round, before its checkpoint is written.
    """

    def __init__(
        self,
        outer: OuterOptimiser,
        plan: TrainingPlan,
        *,
        left_out: LeftOut = ALL_USERS_TRAIN,
        checkpoints: Path | None = None,
        done: int = 0,
        progress: Progress = SILENT,
        validations: Validations | None = None,
        journal: Callable[[dict[str, Any]], None] | None = None,
    ) -> None:
        self._journal, self._asked, self._entry = journal, 0, dict[str, Any]()
        self._outer, self._plan, self._left_out, self._validations = outer, plan, left_out, validations
        self._checkpoints, self._done, self._progress = checkpoints, done, progress
        self._last, self._users, self._user_rounds = done, 0, 0
        self._started = time.perf_counter()

    def __repr__(self) -> str:
        return f"MetaStrategy(round {self._last} of {settled(self._plan).rounds}, {self._outer})"

    def summary(self) -> None:
        """Log the plan of the run, for debugging."""
        _log.debug("Tegu: %s", self._plan)

    def configure_train(
        self, server_round: int, arrays: ArrayRecord, config: ConfigRecord, grid: Grid
    ) -> Iterable[Message]:
        """One message to each node of the round's cohort. Flower counts `server_round` from 1, in a resumed run too.

        Raises:
            FederationError: too few nodes are connected after `wait_seconds`.
        """
        del config
        if self._stopped():
            return []
        number = self._done + server_round
        plan = self._plan
        precision, clip, users = plan.updates.precision, plan.updates.clip, plan.cohort.users_per_node
        settings = RoundConfig(number, plan.seed, clip, plan.episodes, users, precision, *self._left_out)
        content = training_request_content(arrays, settings)
        cohort = self._cohort(number, grid)
        self._asked = len(cohort)
        return [
            Message(content, dst_node_id=node, message_type=MessageType.TRAIN, group_id=str(number)) for node in cohort
        ]

    def aggregate_train(
        self, server_round: int, replies: Iterable[Message]
    ) -> tuple[ArrayRecord | None, MetricRecord | None]:
        """Update the parameters by the mean update over all users of the replies. Without users they stay unchanged.

        Raises:
            FederationError: no reply is usable.
        """
        if self._stopped():
            return None, None
        number = self._done + server_round
        received = sorted(replies, key=lambda reply: reply.metadata.src_node_id)
        usable = self._usable(number, received)
        users = sum(reply.users for reply in usable)
        self._entry |= {"round": number, "users": users, "late": self._asked - len(received)}
        meta = self._outer.step(scale(_sum_of_updates(usable), 1 / users), number) if users else self._outer.meta
        self._users = users
        if self._validations is None or not self._validations.is_due(number):
            self._finish_round(number, meta)
        received_bytes = sum(payload_bytes(reply.content) for reply in received if not reply.has_error())
        return to_record(trained_part(meta, self._outer.fixed)), MetricRecord({"users": users, "bytes": received_bytes})

    def configure_evaluate(
        self, server_round: int, arrays: ArrayRecord, config: ConfigRecord, grid: Grid
    ) -> Iterable[Message]:
        """If a validation is due, one message to each connected node."""
        del config
        number, validations = self._done + server_round, self._validations
        if validations is None or validations.stopped or not validations.is_due(number):
            return []
        validations.start_timer()
        return evaluation_messages(sorted(grid.get_node_ids()), arrays, validations.request, f"round {number}")

    def aggregate_evaluate(self, server_round: int, replies: Iterable[Message]) -> MetricRecord | None:
        """Record the validation of the round. Without a usable reply the round has no validation."""
        number, validations = self._done + server_round, self._validations
        if validations is None or validations.stopped or not validations.is_due(number):
            return None
        meta, validation = self._outer.meta, None
        try:
            answers = sum_replies(replies, validations.request, f"round {number}")
            validation = validations.record(number, answers, meta)
        except FederationError as error:
            _log.warning("round %d is not validated: %s", number, error)
        self._finish_round(number, meta)
        if validation is None:
            return None
        return MetricRecord({name: float(value) for name, value in validation._asdict().items()})

    @property
    def kept(self) -> tuple[int, Tree]:
        """The round whose parameters are kept, and the parameters; see `ValidationRule.patience`."""
        best = None if self._validations is None else self._validations.kept
        return (self._last, self._outer.meta) if best is None else (best.round, best.meta)

    @property
    def user_rounds(self) -> int:
        """Number of users' updates since the run started or was resumed."""
        return self._user_rounds

    def _stopped(self) -> bool:
        return self._validations is not None and self._validations.stopped

    def _finish_round(self, number: int, meta: Tree) -> None:
        self._last = number
        if self._journal is not None:
            validation = self._validations.found[-1] if self._validations and self._validations.found else None
            current = validation is not None and validation.round == number
            self._journal({**self._entry, "validation": validation.as_json() if validation and current else None})
        if self._checkpoints is not None:
            history = ValidationHistory() if self._validations is None else self._validations.history
            write_checkpoint(self._checkpoints, Checkpoint(number, meta, self._outer.state(), history))
        self._user_rounds += self._users
        self._progress.round(
            RoundProgress(
                round=number,
                rounds=settled(self._plan).rounds,
                users=self._users,
                user_rounds=self._user_rounds,
                seconds=time.perf_counter() - self._started,
                meta=meta,
                validation=self._validations.found[-1] if self._validations and self._validations.found else None,
            )
        )

    def _cohort(self, number: int, grid: Grid) -> Sequence[int]:
        size, seconds = settled(self._plan).cohort, self._plan.cohort.wait_seconds
        deadline = time.monotonic() + seconds
        while len(nodes := sorted(grid.get_node_ids())) < size:
            if time.monotonic() >= deadline:
                raise FederationError(
                    f"{len(nodes)} nodes are connected and the cohort is {size}: "
                    "connect more nodes, or choose a smaller cohort"
                )
            time.sleep(0.1)
        return [nodes[place] for place in draw_users(len(nodes), size, self._plan.seed, number)]

    def _usable(self, number: int, replies: Sequence[Message]) -> list[Reply]:
        like = self._outer.trained
        usable: list[Reply] = []
        reasons: list[str] = []
        self._entry = {"nodes": [], "refused": []}  # ids as text: they have 64 bits, and JSON readers only 53
        for message in replies:
            source = message.metadata.src_node_id
            try:
                usable.append(_checked(read_training_reply(message, like), like))
                self._entry["nodes"].append(str(source))
            except (FederationError, DataError) as error:
                self._entry["refused"].append({"node": str(source), "reason": str(error)})
                reasons.append(f"node {source}: {error}")
                _log.warning("round %d: a reply is left out: %s", number, reasons[-1])
        if not usable:
            why = "; ".join(reasons) or "no node replied in time"
            raise FederationError(f"round {number} has no usable reply: {why}")
        return usable


def _sum_of_updates(replies: Sequence[Reply]) -> Tree:
    return reduce(add, [reply.update for reply in replies if reply.users])


def _checked(reply: Reply, like: Tree) -> Reply:
    if not reply.users and not reply.update:
        return reply  # all users of the node calibrate
    check_same_layout(like, reply.update)
    if reply.users < 1:
        raise FederationError(f"the reply is of {reply.users} users: expected at least 1")
    broken = [name for name, array in reply.update.items() if not np.isfinite(array).all()]
    if broken:
        raise FederationError(
            f"training diverged: the update of {broken[0]!r} by {reply.users} users is not finite; lower the learner's "
            "lr or steps or the outer lr, limit updates by UpdatePlan(clip=1.0), or bring inputs, targets or weights "
            "nearer to 1"
        )
    return reply
