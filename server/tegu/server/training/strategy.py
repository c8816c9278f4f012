"""Reptile-style federated meta-learning as a Flower strategy.

The in-process grid, Flower's simulation and a SuperLink use the same strategy. A round computes
`meta = outer(meta, sum of clipped updates / number of users)`.
"""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from flwr.app import ArrayRecord, ConfigRecord, Message, MetricRecord
from flwr.serverapp import Grid
from flwr.serverapp.strategy import Result, Strategy

from tegu.core.data.tree import Tree, trained_part
from tegu.core.errors import DataError, FederationError
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
from tegu.server.rounds.clock import SYSTEM_CLOCK
from tegu.server.rounds.closing import too_few_text
from tegu.server.rounds.found import Found, Rounds, bytes_of
from tegu.server.rounds.selection import draw_nodes
from tegu.server.rounds.staleness import discounted
from tegu.server.rounds.waiting import wait_for_nodes
from tegu.server.training.automatic import settled
from tegu.server.training.calibration_plan import ALL_USERS_TRAIN, LeftOut
from tegu.server.training.checkpoint import Checkpoint, write_checkpoint
from tegu.server.training.open_rounds import OpenRounds
from tegu.server.training.outer_optimiser import DivergedError, OuterOptimiser
from tegu.server.training.plan import TrainingPlan
from tegu.wire import Reply, to_record

__all__ = ["MetaStrategy"]

_log = logging.getLogger(__name__)
_flower_log = logging.getLogger("flwr")  # what `flwr run --stream` shows
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
        rounds: decides whom a round asks and when it ends, for nodes that may be slow or go away. None asks a cohort
            and waits for all of it, as in a simulation. With noise on the mean there are none: the noise decides whom a
            round asks.
        simulation: seed of a simulation in this process, which also determines noise; None in a federation.

    Raises:
        DataError: the plan has a buffer, and no `rounds` are given.
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
        rounds: Rounds | None = None,
        simulation: int | None = None,
    ) -> None:
        if plan.replies.buffer and rounds is None:
            raise DataError(
                f"buffer is {plan.replies.buffer}, which is for the nodes of a federation: all nodes of a simulation "
                "answer at once; set buffer to 0"
            )
        self._journal, self._rounds = journal, rounds
        self._outer, self._plan, self._validations = outer, plan, validations
        self._checkpoints, self._done, self._progress = checkpoints, done, progress
        self._last, self._users, self._user_rounds = done, 0, 0
        self._clip, self._empty = min(clip, plan.updates.first_clip), 0
        planned, cohort, _ = settled(plan)
        self._private = private_run(
            plan.privacy,
            rounds=planned,
            cohort=cohort,
            users_per_node=plan.cohort.users_per_node,
            nodes=plan.cohort.nodes,
            adaptive=plan.updates.clip == "adaptive",
            folder=checkpoints,
            done=done,
            simulation=simulation,
        )
        if self._private is not None:
            self._rounds, self._clip = None, self._private.first_clip(self._clip)
        self._joint, self._dropped = joint, 0
        self._open_rounds = OpenRounds(plan, left_out, joint=joint)
        self._validating = frozenset[int]()
        self._log_of_rounds = RoundLog()
        self._started = time.perf_counter()

    def __repr__(self) -> str:
        return f"MetaStrategy(round {self._last} of {settled(self._plan).rounds}, {self._outer})"

    def summary(self) -> None:
        """Log the plan of the run, for debugging."""
        _log.debug("Tegu: %s", self._plan)

    def start(
        self,
        grid: Grid,
        initial_arrays: ArrayRecord,
        num_rounds: int = 3,
        timeout: float = 3600.0,
        train_config: ConfigRecord | None = None,
        evaluate_config: ConfigRecord | None = None,
        evaluate_fn: Callable[[int, ArrayRecord], MetricRecord | None] | None = None,
    ) -> Result:
        """Run rounds, until validation ends the run. Rounds of a resumed run keep their numbers.

        Args:
            grid: the nodes.
            initial_arrays: the parameters to train.
            num_rounds: number of rounds to run.
            timeout: seconds to wait for replies where `rounds` does not decide.
            train_config: not used.
            evaluate_config: not used.
            evaluate_fn: not used.

        Raises:
            FederationError: as `aggregate_train` and `tegu.server.rounds.found.Rounds`.
        """
        del train_config, evaluate_config, evaluate_fn  # of Flower's own strategies
        config, arrays, result = ConfigRecord(), initial_arrays, Result()
        for current in range(1, num_rounds + 1):
            if self._stopped():
                break
            _flower_log.info("[ROUND %d/%d]", self._done + current, settled(self._plan).rounds)
            if self._rounds is None:
                messages = self.configure_train(current, arrays, config, grid)
                found, figures = self.aggregate_train(current, grid.send_and_receive(messages, timeout=timeout))
            else:
                number = self._done + current
                to = self._open(number)
                found, figures = self._conclude(number, self._rounds.run(number, to, partial(self._usable, number)))
            if found is not None and figures is not None:
                arrays, result.arrays, result.train_metrics_clientapp[current] = found, found, figures
                _flower_log.info("\t%s", dict(figures))
            messages = self.configure_evaluate(current, arrays, config, grid)
            evaluation = self.aggregate_evaluate(current, grid.send_and_receive(messages, timeout=timeout))
            if evaluation is not None:
                result.evaluate_metrics_clientapp[current] = evaluation
        return result

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
        number, size = self._done + server_round, settled(self._plan).cohort
        least = size if self._private is None else self._plan.replies.quorum_of(size)
        nodes = wait_for_nodes(grid, size, least, self._plan.cohort.wait_seconds, SYSTEM_CLOCK, _log.info)
        to = self._open(number)
        if self._private is not None:
            return [to(node) for node in self._private.cohort(nodes, number)]
        return [to(node) for node in draw_nodes(nodes, size, self._plan.seed, number)]

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
        usable, refused = self._usable(number, received)
        if self._is_fruitless(number, usable):
            raise FederationError(too_few_text(number, 0, 1, 1, "; ".join(map(str, refused))))
        late = self._open_rounds.nodes(number) - {reply.metadata.src_node_id for reply in received}
        return self._conclude(number, Found(usable, refused, tuple(sorted(late)), received=bytes_of(received)))

    def _open(self, number: int) -> Callable[[int], Message]:
        return self._open_rounds.open(number, self._outer.trained, self._clip)

    def _conclude(self, number: int, found: Found) -> tuple[ArrayRecord, MetricRecord]:
        """Take the round's step and record it."""
        usable, scaled, clip, _ = self._bounded(number, found)
        self._users = sum(reply.users for reply in usable.values())
        meta, dropped = self._step(number, discounted(usable, found.stale), clip)
        for each in found.refused:
            _log.warning("round %d: a reply is left out: %s", number, each)
        nodes = tuple(node for node, reply in usable.items() if reply.users)
        entry = RoundEntry(
            number, self._users, nodes, tuple(found.refused), scaled, clip, dropped,
            found.late, found.came_late, found.stale, found.in_flight, self._epsilon,
        )  # fmt: skip
        self._log_of_rounds.rounds.append(entry)
        if self._validations is None or not self._validations.is_due(number):
            self._finish_round(number, meta)
        figures: dict[str, int | float | list[int] | list[float]] = {
            "users": self._users,
            "bytes": found.received,
            "refused": len(found.refused),
        }
        return to_record(trained_part(meta, self._outer.fixed)), MetricRecord(figures)

    def configure_evaluate(
        self, server_round: int, arrays: ArrayRecord, config: ConfigRecord, grid: Grid
    ) -> Iterable[Message]:
        """If a validation is due, one message to each connected node that is not at work."""
        del config
        number, validations = self._done + server_round, self._validations
        if validations is None or self._stopped() or not validations.is_due(number):
            return []
        validations.start_timer()
        connected = set(grid.get_node_ids())
        free = connected - set(() if self._rounds is None else self._rounds.busy)
        self._validating = frozenset(free or connected)
        return evaluation_messages(sorted(self._validating), arrays, validations.request(number), f"round {number}")

    def aggregate_evaluate(self, server_round: int, replies: Iterable[Message]) -> MetricRecord | None:
        """Record the validation of the round. Without a usable reply the round has no validation."""
        number, validations = self._done + server_round, self._validations
        if validations is None or self._stopped() or not validations.is_due(number):
            return None
        meta, validation = self._outer.meta, None
        try:
            sink = self._log_of_rounds.evaluation
            answers = sum_replies(
                replies,
                validations.request(number),
                f"round {number}",
                nodes=self._validating,
                refused=sink,
                rule=self._plan.updates.rule,
            )
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
    def _epsilon(self) -> float | None:
        return None if self._private is None else self._private.epsilon

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
            self._journal({**self._log_of_rounds.rounds[-1].as_json(), "validation": shown})
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
                epsilon=self._epsilon,
            )
        )

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

    def _is_fruitless(self, number: int, usable: Mapping[int, Reply]) -> bool:
        """Whether a round without a usable reply ends the run: with noise, if several in succession had none.

        Noise is released for nobody's updates too, since who takes part is secret.
        """
        if self._private is None:
            return not usable
        nobody = self._open_rounds.size(number) > 0 and not usable
        self._empty = self._empty + 1 if nobody else 0
        return self._empty == _MOST_DROPPED

    def _bounded(self, number: int, found: Found) -> Bounded:
        """The replies, bounded. An old one counts nobody within the clip, which was another one for it."""
        usable = {
            node: reply._replace(within=None) if found.stale.get(node) else reply
            for node, reply in found.usable.items()
        }
        limited = usable if self._joint or self._plan.cohort.users_per_node else limit_users(usable)
        adaptive = self._plan.updates.clip == "adaptive" and self._private is None
        noise = self._open_rounds.local_noise(number, self._outer.trained, self._clip)
        bounded = bound_norms(limited, self._clip, adaptive=adaptive, noise=noise)
        self._clip = bounded.next_clip
        return bounded

    def _usable(self, number: int, replies: Iterable[Message]) -> tuple[dict[int, Reply], list[Refusal]]:
        return self._open_rounds.read(number, replies, self._outer.trained, self._clip)
