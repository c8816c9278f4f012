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
from tegu.server.evaluation.round import run_evaluation_round
from tegu.server.evaluation.validation import (
    Validation,
    ValidationHistory,
    ValidationRule,
    Validations,
    mean_validation,
    validation_candidates,
    validation_from_sums,
)
from tegu.server.training.plan import TrainingPlan
from tegu.wire import to_record

__all__ = ["calibrate", "final_validation", "validations_for"]


def validations_for(
    plan: TrainingPlan, manifest: Manifest, history: ValidationHistory | None, fold: int | None
) -> Validations | None:
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
    rule = ValidationRule(every, stopping.patience, plan.calibration.metric_for(manifest.spec).higher_is_better)
    inquiry = _inquiry(plan, manifest, validation_candidates(plan.calibration.middle_k, manifest), fold or 0)
    return Validations(rule, inquiry, plan.rounds, history)


def calibrate(grid: Grid, metas: Sequence[Tree], manifest: Manifest, plan: TrainingPlan) -> tuple[ScheduleEntry, ...]:
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
        return add_sums(
            run_evaluation_round(grid, record, inquiry, "calibration", plan.calibration.nodes)
            for record, inquiry in each
        )

    schedule = find_schedule(answered, manifest, plan.calibration.ks, plan.calibration.risk)
    if not schedule:
        share = plan.calibration.left_out_share
        raise FederationError(
            f"nobody calibrates: of the connected nodes' users, none of the share of {share} that was drawn has "
            f"more than k = {min(plan.calibration.ks)} rows; connect more nodes and run again (the checkpoints stay), "
            "name smaller ks, or set calibration-share to 0 and keep the old schedule"
        )
    return schedule


def final_validation(
    grid: Grid, metas: Sequence[Tree], manifest: Manifest, plan: TrainingPlan, number: int
) -> Validation | None:
    """A closer look at what was trained: how those who calibrate, and others who trained, do by it.

    Args:
        grid: the nodes.
        metas: as `calibrate`.
        manifest: of the bundle.
        plan: who calibrates.
        number: the round that they are of.

    Raises:
        FederationError: no node answers.
    """
    questions = validation_candidates(plan.calibration.middle_k, manifest, DRAWS)
    answers = (
        run_evaluation_round(
            grid, to_record(meta), _inquiry(plan, manifest, questions, fold), "validation", plan.calibration.nodes
        )
        for fold, meta in enumerate(metas)
    )
    higher_is_better = plan.calibration.metric_for(manifest.spec).higher_is_better
    looks = (validation_from_sums(number, each, higher_is_better) for each in answers)
    return mean_validation([look for look in looks if look is not None])


def _inquiry(plan: TrainingPlan, manifest: Manifest, questions: Sequence[CandidateSet], fold: int) -> EvaluationRequest:
    """What an evaluation round asks of the devices that hold the manifest's graphs."""
    metric = plan.calibration.metric_for(manifest.spec).name
    return EvaluationRequest(metric, plan.seed, plan.calibration.left_out_share, questions, fold)
