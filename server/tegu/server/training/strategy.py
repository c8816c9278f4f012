"""Reptile-style federated meta-learning as a Flower strategy.

The in-process grid, Flower's simulation and a SuperLink use the same strategy. A round computes
`meta = outer(meta, sum of clipped updates / number of users)`.
"""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from flwr.app import ArrayRecord, ConfigRecord, Message, MessageType, MetricRecord
from flwr.serverapp import Grid
from flwr.serverapp.strategy import Strategy

from tegu.core.data.tree import Tree, trained_part
from tegu.core.errors import FederationError
from tegu.core.privacy.noise import noise_length
from tegu.core.sampling.episode import draw_users
from tegu.server.evaluation.early_stopping import ValidationHistory, Validations
from tegu.server.evaluation.round import evaluation_messages, sum_replies
from tegu.server.privacy.run import private_run
from tegu.server.privacy.statement import statement
from tegu.server.progress import SILENT, Progress, RoundProgress
from tegu.server.replies.aggregation import aggregate
from tegu.server.replies.bounds import Bounded, bound_norms
from tegu.server.replies.influence import limit_users
from tegu.server.replies.refusal import Refusal
from tegu.server.replies.round_log import RoundEntry, RoundLog
from tegu.server.replies.training import Asked, checked_reply, read_all
from tegu.server.training.automatic import settled
from tegu.server.training.calibration_plan import ALL_USERS_TRAIN, LeftOut
from tegu.server.training.checkpoint import Checkpoint, write_checkpoint
from tegu.server.training.outer_optimiser import DivergedError, OuterOptimiser
from tegu.server.training.plan import TrainingPlan
from tegu.wire import Reply, RoundConfig, payload_bytes, to_record, training_request_content

__all__ = ["MetaStrategy"]

_log = logging.getLogger(__name__)
_MOST_DROPPED = 3  # rounds in succession, after which the run has diverged


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
        clip: of the next round, for a resumed run with an adaptive clip; infinite otherwise.
        joint: whether one reply stands for all nodes of a round, as in this process, where nobody needs to be checked.
            Its number of users and its sender are not.
        journal: told what happened in each round, before its checkpoint is written.
        simulation: seed of a simulation in this process, which also determines noise; None in a federation.
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
        clip: float = math.inf,
        joint: bool = False,
        journal: Callable[[dict[str, Any]], None] | None = None,
        simulation: int | None = None,
    ) -> None:
        self._journal = journal
        self._outer, self._plan, self._left_out, self._validations = outer, plan, left_out, validations
        self._checkpoints, self._done, self._progress = checkpoints, done, progress
        self._last, self._users, self._user_rounds = done, 0, 0
        self._clip = min(clip, plan.updates.first_clip)
        rounds, cohort, _ = settled(plan)
        self._private = private_run(
            plan.privacy,
            rounds=rounds,
            cohort=cohort,
            users_per_node=plan.cohort.users_per_node,
            nodes=plan.cohort.nodes,
            adaptive=plan.updates.clip == "adaptive",
            folder=checkpoints,
            done=done,
            simulation=simulation,
        )
        if self._private is not None:
            self._clip = self._private.first_clip(self._clip)
        self._joint, self._asked, self._dropped = joint, frozenset[int](), 0
        self._late = 0
        self._log_of_rounds = RoundLog()
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
        del config, arrays  # which Flower evaluates and returns; the optimiser may train others (`OuterRule.averaged`)
        if self._stopped():
            return []
        number = self._done + server_round
        plan = self._plan
        precision, users = plan.updates.precision, plan.cohort.users_per_node
        private, local = plan.privacy.is_on, plan.privacy.local_noise
        settings = RoundConfig(
            number, plan.seed, self._clip, plan.episodes, users, precision, *self._left_out, private, local
        )
        content = training_request_content(to_record(self._outer.trained), settings)
        self._asked = frozenset(self._cohort(number, grid))
        return [
            Message(content, dst_node_id=node, message_type=MessageType.TRAIN, group_id=str(number))
            for node in sorted(self._asked)
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
        number, received = self._done + server_round, list(replies)
        asked = Asked(self._clip, self._plan.cohort.users_per_node, self._asked, str(number), self._local_noise())
        if self._joint:
            asked = Asked(self._clip, noise=self._local_noise())
        found, refused = self._usable(number, received, asked)
        usable, scaled, clip, _ = self._bounded(found)
        self._users = sum(reply.users for reply in usable.values())
        meta, dropped = self._step(number, usable, clip)
        nodes = tuple(node for node, reply in usable.items() if reply.users)
        epsilon = None if self._private is None else self._private.epsilon
        entry = RoundEntry(number, self._users, nodes, tuple(refused), scaled, clip, dropped, epsilon)
        self._log_of_rounds.rounds.append(entry)
        self._late = 0 if self._joint else max(0, len(self._asked) - len(received))
        if self._validations is None or not self._validations.is_due(number):
            self._finish_round(number, meta)
        received_bytes = sum(payload_bytes(reply.content) for reply in received if not reply.has_error())
        figures: dict[str, int | float | list[int] | list[float]] = {
            "users": self._users,
            "bytes": received_bytes,
            "refused": len(refused),
        }
        return to_record(trained_part(meta, self._outer.fixed)), MetricRecord(figures)

    def configure_evaluate(
        self, server_round: int, arrays: ArrayRecord, config: ConfigRecord, grid: Grid
    ) -> Iterable[Message]:
        """If a validation is due, one message to each connected node."""
        del config
        number, validations = self._done + server_round, self._validations
        if validations is None or self._stopped() or not validations.is_due(number):
            return []
        validations.start_timer()
        self._asked = frozenset(grid.get_node_ids())
        return evaluation_messages(sorted(self._asked), arrays, validations.request, f"round {number}")

    def aggregate_evaluate(self, server_round: int, replies: Iterable[Message]) -> MetricRecord | None:
        """Record the validation of the round. Without a usable reply the round has no validation."""
        number, validations = self._done + server_round, self._validations
        if validations is None or self._stopped() or not validations.is_due(number):
            return None
        meta, validation = self._outer.meta, None
        try:
            sink = self._log_of_rounds.evaluation
            answers = sum_replies(replies, validations.request, f"round {number}", nodes=self._asked, refused=sink)
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
    def round_log(self) -> RoundLog:
        """Who took part in each round since the run started or was resumed, and which replies were refused."""
        return self._log_of_rounds

    @property
    def privacy(self) -> dict[str, Any]:
        """What the training has spent; see `tegu.server.privacy.statement`. Empty without noise."""
        return statement(self._plan.privacy, self._private, self._last, self._clip)

    @property
    def user_rounds(self) -> int:
        """Number of users' updates since the run started or was resumed."""
        return self._user_rounds

    def _stopped(self) -> bool:
        if self._private is not None and self._private.ended:
            return True
        return self._validations is not None and self._validations.stopped

    def _finish_round(self, number: int, meta: Tree) -> None:
        self._last = number
        if self._journal is not None:
            validation = self._validations.found[-1] if self._validations and self._validations.found else None
            current = validation is not None and validation.round == number
            shown = validation.as_json() if validation and current else None
            self._journal({**self._log_of_rounds.rounds[-1].as_json(), "late": self._late, "validation": shown})
        if self._checkpoints is not None:
            history = ValidationHistory() if self._validations is None else self._validations.history
            write_checkpoint(self._checkpoints, Checkpoint(number, meta, self._outer.state(), history, self._clip))
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
                epsilon=None if self._private is None else self._private.epsilon,
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
        if self._private is not None:
            return self._private.cohort(nodes, number)
        return [nodes[place] for place in draw_users(len(nodes), size, self._plan.seed, number)]

    def _step(self, number: int, usable: Mapping[int, Reply], clip: float) -> tuple[Tree, str]:
        """The parameters after the round, and why it was dropped: empty if it was not."""
        if not self._users and self._private is None:
            return self._outer.meta, ""
        try:
            with np.errstate(over="ignore", invalid="ignore"):  # the step refuses a sum that is not finite
                training = [reply for reply in usable.values() if reply.users]
                direction = self._direction(number, training, clip)
            meta, self._dropped = self._outer.step(direction, number), 0
        except DivergedError as error:
            self._users, self._dropped = 0, self._dropped + 1
            _log.warning("round %d is dropped: %s", number, error)
            if self._dropped == _MOST_DROPPED:
                raise FederationError(f"{_MOST_DROPPED} rounds in succession were dropped: {error}") from error
            return self._outer.meta, str(error)
        return meta, ""

    def _direction(self, number: int, training: Sequence[Reply], clip: float) -> Tree:
        """What takes the gradient's place: with noise where the plan says so, before the outer step."""
        if self._private is None:
            return aggregate(training, self._plan.updates.aggregation, self._plan.updates.attackers)
        released = self._private.release(training, self._outer.trained, clip, number)
        self._clip = released.clip
        return released.direction

    def _local_noise(self) -> float:
        """The largest norm of the noise that devices add to a reply."""
        if not self._plan.privacy.local_noise:
            return 0.0
        entries = sum(array.size for array in self._outer.trained.values())
        deviation = self._plan.privacy.local_noise * self._clip
        return noise_length(entries, deviation * math.sqrt(len(self._asked)) if self._joint else deviation)

    def _bounded(self, found: Mapping[int, Reply]) -> Bounded:
        limited = found if self._joint or self._plan.cohort.users_per_node else limit_users(found)
        adaptive = self._plan.updates.clip == "adaptive" and self._private is None
        bounded = bound_norms(limited, self._clip, adaptive=adaptive, noise=self._local_noise())
        self._clip = bounded.next_clip
        return bounded

    def _usable(self, number: int, replies: Iterable[Message], asked: Asked) -> tuple[dict[int, Reply], list[Refusal]]:
        like = self._outer.trained
        usable, refused = read_all(replies, asked, lambda message: checked_reply(message, like, asked))
        for each in refused:
            _log.warning("round %d: a reply is left out: %s", number, each)
        if not usable and (self._private is None or self._asked):
            why = "; ".join(map(str, refused)) or "no node replied in time"
            raise FederationError(f"round {number} has no usable reply: {why}")
        return usable, refused
