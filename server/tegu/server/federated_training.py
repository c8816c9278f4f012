"""One training over the nodes of a federation: of a fold's, or of everybody."""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from flwr.serverapp import Grid

from tegu.core.bundle.file import Bundle
from tegu.core.data.tree import Tree
from tegu.core.notes import note
from tegu.server.calibration.calibrate import validations_for
from tegu.server.evaluation.early_stopping import Validations
from tegu.server.replies.round_log import RoundLog
from tegu.server.rounds.buffered import BufferedRounds
from tegu.server.rounds.found import Rounds
from tegu.server.rounds.patient_grid import PatientGrid
from tegu.server.rounds.reliability import from_records
from tegu.server.rounds.synchronous import SynchronousRounds
from tegu.server.training.automatic import settled
from tegu.server.training.checkpoint import latest_checkpoint
from tegu.server.training.cross_fitting import checkpoint_folder
from tegu.server.training.journal import Event, append_event, read_events, records_of
from tegu.server.training.outer_optimiser import OuterOptimiser
from tegu.server.training.plan import TrainingPlan
from tegu.server.training.run_folder import resumed_text
from tegu.server.training.strategy import MetaStrategy
from tegu.wire import to_record

__all__ = ["TrainedRounds", "train_without_fold"]

_log = logging.getLogger(__name__)


class TrainedRounds(NamedTuple):
    """The result of one training.

    Attributes:
        kept: round whose parameters are kept, see `MetaStrategy.kept`.
        meta: the parameters of that round.
        resumed_at: number of rounds that were run before.
        records: what happened in each round, also of those that were run before.
        validations: None without validation.
        log: who took part in the rounds run now, and what was refused.
        privacy: what the training has spent; empty without noise.
    """

    kept: int
    meta: Tree
    resumed_at: int
    records: Sequence[Event]
    validations: Validations | None
    log: RoundLog
    privacy: Mapping[str, Any]

    @property
    def users(self) -> dict[str, int]:
        """Number of users by round. Rounds are strings, as in JSON."""
        return {str(record["round"]): int(record["users"]) for record in self.records}


def train_without_fold(
    grid: Grid, start: Bundle, checkpoints: Path, fold: int | None, plan: TrainingPlan
) -> TrainedRounds:
    """Run the remaining rounds of a training that leaves out the fold's users. None leaves out no user."""
    folder = checkpoint_folder(checkpoints, plan.calibration.folds or 0, fold)
    checkpoint = latest_checkpoint(folder)
    first, fixed = checkpoint.meta if checkpoint else start.meta, start.manifest.fixed_parameters
    rounds, _, rule = settled(plan)
    outer = OuterOptimiser(first, rule, rounds, fixed)
    if checkpoint:
        outer.restore(checkpoint.outer)
    done = checkpoint.round if checkpoint else 0
    if done:
        note(resumed_text(done, rounds, folder))
    validations = validations_for(plan, start.manifest, checkpoint.history if checkpoint else None, fold)
    before = records_of(read_events(checkpoints)[0], fold, done)
    dropped = before[-1]["in_flight"] if before else 0
    run = str(grid.run.run_id) if isinstance(grid, PatientGrid) else ""
    append_event(checkpoints, "start", run=run, fold=fold, done=done, rounds=rounds, dropped=dropped)
    strategy = MetaStrategy(
        outer,
        plan,
        left_out=plan.calibration.left_out(fold),
        checkpoints=folder,
        done=done,
        validations=validations,
        clip=checkpoint.clip if checkpoint else math.inf,
        journal=_journal(checkpoints, fold, rounds),
        rounds=_rounds(grid, plan, before, checkpoints) if isinstance(grid, PatientGrid) else None,
    )
    if done < rounds:
        strategy.start(grid, to_record(outer.trained), num_rounds=rounds - done)
    records = records_of(read_events(checkpoints)[0], fold, rounds)
    return TrainedRounds(*strategy.kept, done, records, validations, strategy.round_log, strategy.privacy)


def _rounds(grid: PatientGrid, plan: TrainingPlan, before: Sequence[Event], folder: Path) -> Rounds:
    """What runs the rounds: synchronous ones, or the steps of an asynchronous run. Waiting is told in the journal."""

    def tell(text: str) -> None:
        _log.warning("%s", text)
        append_event(folder, "waiting", text=text)

    kind = BufferedRounds if plan.replies.buffer else SynchronousRounds
    return kind(
        grid,
        plan.replies,
        settled(plan).cohort,
        plan.seed,
        wait_seconds=plan.cohort.wait_seconds,
        reliability=from_records(before),
        clock=grid.clock,
        tell=tell,
    )


def _journal(folder: Path, fold: int | None, rounds: int) -> Callable[[Mapping[str, Any]], None]:
    """Appends what happened in a round, and how long it took, to the folder's journal."""
    ended = time.monotonic()

    def append(entry: Mapping[str, Any]) -> None:
        nonlocal ended
        began, ended = ended, time.monotonic()
        append_event(folder, "round", fold=fold, rounds=rounds, seconds=round(ended - began, 3), **entry)

    return append
