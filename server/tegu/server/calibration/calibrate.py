"""Calibrating a trained bundle over a federation: who has taken no part in training tries ways to adapt."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from flwr.serverapp import Grid

from tegu.core.bundle.manifest import Manifest, ScheduleEntry
from tegu.core.calibration.evaluation_request import Answer, Inquiry, Question, total
from tegu.core.data.tree import Tree
from tegu.core.errors import DataError, FederationError
from tegu.core.metrics import Metric, default_metric, find_metric
from tegu.core.sampling.trials import DRAWS
from tegu.server.calibration.schedule import find_schedule
from tegu.server.evaluation.round import ask
from tegu.server.evaluation.validation import Look, look_of, look_questions, mean_look
from tegu.wire import to_record

__all__ = ["CalibrationRule", "calibrated", "judged"]


@dataclass(frozen=True)
class CalibrationRule:
    """How a federation calibrates.

    Attributes:
        ks: numbers of interactions to find a way to adapt for.
        metric: name of what to judge by; empty for the usual one of the kind of problem.
        seed: of the run; it decides who calibrates, and the trials.
        share: of all users who calibrate; nobody where it is 0. With folds it is one fold.
        nodes: how many nodes are asked; 0 for all that are connected.
        folds: everybody calibrates, in so many folds that each judge what was trained without them; 0 for a share that
            never trains.
    """

    ks: tuple[int, ...]
    metric: str = ""
    seed: int = 0
    share: float = 0.1
    nodes: int = 0
    folds: int = 0

    def __post_init__(self) -> None:
        if not self.ks or min(self.ks) < 1:
            raise DataError(f"ks are {self.ks}: expected one number of interactions or more, each at least 1")
        if self.folds < 0 or self.folds == 1:
            raise DataError(f"folds are {self.folds}: expected 0 for none, or 2 and more")
        if self.metric:
            find_metric(self.metric)

    @property
    def apart(self) -> float:
        """Which share is left out of a training, for it to judge."""
        return 1 / self.folds if self.folds else self.share

    @property
    def middle(self) -> int:
        """The middle one of `ks`, at which looks are taken."""
        return sorted(self.ks)[len(self.ks) // 2]

    def judge(self, manifest: Manifest) -> Metric:
        """What to judge by."""
        return find_metric(self.metric) if self.metric else default_metric(manifest.spec.kind)

    def inquiry(self, manifest: Manifest, questions: Sequence[Question], fold: int = 0) -> Inquiry:
        """What an evaluation round asks of the devices that hold the manifest's graphs."""
        still = {**manifest.knobs, "steps": 0.0}
        return Inquiry(self.judge(manifest).name, self.seed, self.apart, still, questions, fold)


def calibrated(
    grid: Grid, metas: Sequence[Tree], manifest: Manifest, rule: CalibrationRule
) -> tuple[ScheduleEntry, ...]:
    """The schedule that the federation's calibration users find: one or two evaluation rounds for each fold.

    Args:
        grid: the nodes.
        metas: what was trained, fold by fold: each without the users who judge it.
        manifest: of the bundle; its candidates are tried, or its own knobs where it has none.
        rule: how.

    Raises:
        FederationError: no node answers, or no user who calibrates has the rows for any k.
    """
    records = [to_record(meta) for meta in metas]

    def answered(questions: Sequence[Question]) -> list[Answer]:
        inquiries = (rule.inquiry(manifest, questions, fold) for fold in range(len(records)))
        each = zip(records, inquiries, strict=True)
        return total(ask(grid, record, inquiry, "calibration", rule.nodes) for record, inquiry in each)

    still = {**manifest.knobs, "steps": 0.0}
    schedule = find_schedule(answered, still, manifest.candidates or (manifest.knobs,), rule.ks)
    if not schedule:
        raise FederationError(
            f"nobody calibrates: of the connected nodes' users, none of the share of {rule.apart} that was drawn has "
            f"more than k = {min(rule.ks)} rows; connect more nodes and run again (the checkpoints stay), name smaller "
            "ks, or set calibration-share to 0 and keep the old schedule"
        )
    return schedule


def judged(grid: Grid, metas: Sequence[Tree], manifest: Manifest, rule: CalibrationRule, number: int) -> Look | None:
    """A closer look at what was trained: how those who calibrate, and others who trained, do by it.

    Args:
        grid: the nodes.
        metas: as `calibrated`.
        manifest: of the bundle.
        rule: who calibrates.
        number: the round that they are of.

    Raises:
        FederationError: no node answers.
    """
    questions = look_questions(rule.middle, manifest.knobs, DRAWS)
    answers = (
        ask(grid, to_record(meta), rule.inquiry(manifest, questions, fold), "validation", rule.nodes)
        for fold, meta in enumerate(metas)
    )
    looks = (look_of(number, each, rule.judge(manifest).higher_is_better) for each in answers)
    return mean_look([look for look in looks if look is not None])
