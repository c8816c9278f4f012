"""Calibrating a trained bundle over a federation: who has taken no part in training tries ways to adapt."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from flwr.serverapp import Grid

from tegu.core.calibration.question import Answer, Inquiry, Question
from tegu.core.errors import DataError, FederationError
from tegu.core.manifest import Manifest, ScheduleEntry
from tegu.core.metrics import Metric, default_metric, find_metric
from tegu.core.tree import Tree
from tegu.core.trials import DRAWS
from tegu.server.evaluation import ask
from tegu.server.looks import Look, look_of, look_questions
from tegu.server.schedule import find_schedule
from tegu.wire import to_record

__all__ = ["CalibrationRule", "calibrated", "judged"]


@dataclass(frozen=True)
class CalibrationRule:
    """How a federation calibrates.

    Attributes:
        ks: numbers of interactions to find a way to adapt for.
        metric: name of what to judge by; empty for the usual one of the kind of problem.
        seed: of the run; it decides who calibrates, and the trials.
        share: of all users who calibrate; nobody where it is 0.
        nodes: how many nodes are asked; 0 for all that are connected.
    """

    ks: tuple[int, ...]
    metric: str = ""
    seed: int = 0
    share: float = 0.1
    nodes: int = 0

    def __post_init__(self) -> None:
        if not self.ks or min(self.ks) < 1:
            raise DataError(f"ks are {self.ks}: expected one number of interactions or more, each at least 1")
        if self.metric:
            find_metric(self.metric)

    @property
    def middle(self) -> int:
        """The middle one of `ks`, at which looks are taken."""
        return sorted(self.ks)[len(self.ks) // 2]

    def judge(self, manifest: Manifest) -> Metric:
        """What to judge by."""
        return find_metric(self.metric) if self.metric else default_metric(manifest.spec.kind)

    def inquiry(self, manifest: Manifest, questions: Sequence[Question]) -> Inquiry:
        """What an evaluation round asks of the devices that hold the manifest's graphs."""
        return Inquiry(self.judge(manifest).name, self.seed, self.share, {**manifest.knobs, "steps": 0.0}, questions)


def calibrated(grid: Grid, meta: Tree, manifest: Manifest, rule: CalibrationRule) -> tuple[ScheduleEntry, ...]:
    """The schedule that the federation's calibration users find: one or two evaluation rounds.

    Args:
        grid: the nodes.
        meta: what was trained.
        manifest: of the bundle; its candidates are tried, or its own knobs where it has none.
        rule: how.

    Raises:
        FederationError: no node answers, or no user who calibrates has the rows for any k.
    """
    record = to_record(meta)

    def answered(questions: Sequence[Question]) -> list[Answer]:
        return ask(grid, record, rule.inquiry(manifest, questions), "calibration", rule.nodes)

    still = {**manifest.knobs, "steps": 0.0}
    schedule = find_schedule(answered, still, manifest.candidates or (manifest.knobs,), rule.ks)
    if not schedule:
        raise FederationError(
            f"nobody calibrates: of the connected nodes' users, none of the share of {rule.share} that was drawn has "
            f"more than k = {min(rule.ks)} rows; connect more nodes and run again (the checkpoints stay), name smaller "
            "ks, or set calibration-share to 0 and keep the old schedule"
        )
    return schedule


def judged(grid: Grid, meta: Tree, manifest: Manifest, rule: CalibrationRule, number: int) -> Look | None:
    """A closer look at what was trained: how those who calibrate, and others who trained, do by it.

    Args:
        grid: the nodes.
        meta: what was trained.
        manifest: of the bundle.
        rule: who calibrates.
        number: the round that `meta` is of.

    Raises:
        FederationError: no node answers.
    """
    inquiry = rule.inquiry(manifest, look_questions(rule.middle, manifest.knobs, DRAWS))
    answers = ask(grid, to_record(meta), inquiry, "validation", rule.nodes)
    return look_of(number, answers, rule.judge(manifest).higher_is_better)
