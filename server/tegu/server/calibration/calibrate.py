"""Calibrating a trained bundle over a federation: who has taken no part in training tries ways to adapt."""

from __future__ import annotations

from collections.abc import Sequence

from flwr.serverapp import Grid

from tegu.core.bundle.manifest import Manifest, ScheduleEntry
from tegu.core.calibration.evaluation_request import CandidateSet, EvaluationRequest, MetricSums, add_sums
from tegu.core.data.tree import Tree
from tegu.core.errors import FederationError
from tegu.core.sampling.trials import DRAWS
from tegu.server.calibration.schedule import find_schedule
from tegu.server.evaluation.round import ask
from tegu.server.evaluation.validation import (
    Look,
    LookRule,
    Looks,
    ValidationHistory,
    look_of,
    look_questions,
    mean_look,
)
from tegu.server.training.plan import TrainingPlan
from tegu.wire import to_record

__all__ = ["calibrated", "judged", "looks_for"]


def looks_for(
    plan: TrainingPlan, manifest: Manifest, history: ValidationHistory | None, fold: int | None
) -> Looks | None:
    """Who looks at the parameters while a federation's run goes on, and when; None for nobody.

    Args:
        plan: of the run.
        manifest: of the bundle to start from.
        history: of the rounds before, where a run is resumed.
        fold: whose users are left out, to look on; None for nobody's.
    """
    stopping = plan.early_stopping
    every = stopping.interval(plan.rounds, by_default=False)
    if not every or not plan.calibration.left_out(fold).share:
        return None
    rule = LookRule(every, stopping.patience, plan.calibration.metric_for(manifest.spec).higher_is_better)
    inquiry = _inquiry(plan, manifest, look_questions(plan.calibration.middle_k, manifest), fold or 0)
    return Looks(rule, inquiry, plan.rounds, history)


def calibrated(grid: Grid, metas: Sequence[Tree], manifest: Manifest, plan: TrainingPlan) -> tuple[ScheduleEntry, ...]:
    """The schedule that the federation's calibration users find: one or two evaluation rounds for each fold.

    Args:
        grid: the nodes.
        metas: what was trained, fold by fold: each without the users who judge it.
        manifest: of the bundle; its candidates are tried, or its own knobs where it has none.
        plan: how, and of which seed.

    Raises:
        FederationError: no node answers, or no user who calibrates has the rows for any k.
    """
    records = [to_record(meta) for meta in metas]

    def answered(questions: Sequence[CandidateSet]) -> list[MetricSums]:
        inquiries = (_inquiry(plan, manifest, questions, fold) for fold in range(len(records)))
        each = zip(records, inquiries, strict=True)
        return add_sums(ask(grid, record, inquiry, "calibration", plan.calibration.nodes) for record, inquiry in each)

    schedule = find_schedule(answered, manifest, plan.calibration.ks, plan.calibration.risk)
    if not schedule:
        share = plan.calibration.left_out_share
        raise FederationError(
            f"nobody calibrates: of the connected nodes' users, none of the share of {share} that was drawn has "
            f"more than k = {min(plan.calibration.ks)} rows; connect more nodes and run again (the checkpoints stay), "
            "name smaller ks, or set calibration-share to 0 and keep the old schedule"
        )
    return schedule


def judged(grid: Grid, metas: Sequence[Tree], manifest: Manifest, plan: TrainingPlan, number: int) -> Look | None:
    """A closer look at what was trained: how those who calibrate, and others who trained, do by it.

    Args:
        grid: the nodes.
        metas: as `calibrated`.
        manifest: of the bundle.
        plan: who calibrates.
        number: the round that they are of.

    Raises:
        FederationError: no node answers.
    """
    questions = look_questions(plan.calibration.middle_k, manifest, DRAWS)
    answers = (
        ask(grid, to_record(meta), _inquiry(plan, manifest, questions, fold), "validation", plan.calibration.nodes)
        for fold, meta in enumerate(metas)
    )
    higher_is_better = plan.calibration.metric_for(manifest.spec).higher_is_better
    looks = (look_of(number, each, higher_is_better) for each in answers)
    return mean_look([look for look in looks if look is not None])


def _inquiry(plan: TrainingPlan, manifest: Manifest, questions: Sequence[CandidateSet], fold: int) -> EvaluationRequest:
    """What an evaluation round asks of the devices that hold the manifest's graphs."""
    metric = plan.calibration.metric_for(manifest.spec).name
    return EvaluationRequest(metric, plan.seed, plan.calibration.left_out_share, questions, fold)
