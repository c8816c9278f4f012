"""Calibrating a trained bundle over a federation: users who did not train it evaluate candidate knobs."""

from __future__ import annotations

from collections.abc import Sequence

from flwr.serverapp import Grid

from tegu.core.bundle.manifest import Manifest, ScheduleEntry
from tegu.core.calibration.evaluation_request import CandidateSet, EvaluationRequest, MetricSums, add_sums
from tegu.core.data.tree import Tree, trained_part
from tegu.core.errors import FederationError
from tegu.core.sampling.trials import DRAWS
from tegu.server.calibration.schedule import find_schedule, note_on_harm
from tegu.server.evaluation.early_stopping import ValidationHistory, ValidationRule, Validations
from tegu.server.evaluation.round import run_evaluation_round
from tegu.server.evaluation.validation import Validation, mean_validation, validation_candidates, validation_from_sums
from tegu.server.replies.refusal import Refusal
from tegu.server.training.automatic import settled
from tegu.server.training.plan import TrainingPlan
from tegu.wire import to_record

__all__ = ["calibrate", "final_validation", "validations_for"]


def validations_for(
    plan: TrainingPlan, manifest: Manifest, history: ValidationHistory | None, fold: int | None
) -> Validations | None:
    """The validations of a federation's run; None if its plan has no validation.

    Args:
        plan: plan of the run.
        manifest: manifest of the bundle to start from.
        history: validations of the earlier rounds of a resumed run.
        fold: the fold whose users are left out of training and validate; None for the training with all users.
    """
    stopping = plan.early_stopping
    rounds = settled(plan).rounds
    every = stopping.interval(rounds, by_default=False)
    if not every or not plan.calibration.left_out(fold).share:
        return None
    higher_is_better = plan.calibration.metric_for(manifest.spec).higher_is_better
    rule = ValidationRule(every, stopping.patience, higher_is_better, bool(stopping.until_flat))
    request = _request(plan, manifest, validation_candidates(plan.calibration.middle_k, manifest), fold or 0)
    return Validations(rule, request, rounds, history)


def calibrate(
    grid: Grid, metas: Sequence[Tree], manifest: Manifest, plan: TrainingPlan, refused: list[Refusal] | None = None
) -> tuple[ScheduleEntry, ...]:
    """The schedule chosen by the federation's calibration users, in one or two evaluation rounds for each fold.

    Args:
        grid: the connected nodes.
        metas: parameters of each fold, trained without the fold's users, who calibrate them.
        manifest: manifest of the bundle. Its candidates are evaluated; without candidates, its own knobs.
        plan: plan of the run.
        refused: receives the replies that are left out.

    Raises:
        FederationError: no node replies, or no calibration user has enough rows for any k.
        DataError: as `find_schedule`.
    """
    records = [to_record(trained_part(meta, manifest.fixed_parameters)) for meta in metas]

    def evaluate(questions: Sequence[CandidateSet]) -> list[MetricSums]:
        requests = (_request(plan, manifest, questions, fold) for fold in range(len(records)))
        return add_sums(
            run_evaluation_round(
                grid, record, request, "calibration", plan.calibration.nodes, refused, plan.updates.rule
            )
            for record, request in zip(records, requests, strict=True)
        )

    schedule = find_schedule(evaluate, manifest, plan.calibration.ks, plan.calibration.limits)
    if not schedule:
        share = plan.calibration.left_out_share
        raise FederationError(
            f"no user can calibrate: a share of {share} of all users calibrates, and on the connected nodes none of "
            f"them has more than k = {min(plan.calibration.ks)} rows. Connect more nodes and run again (checkpoints "
            "are kept), choose smaller ks, or set calibration-share to 0 to keep the old schedule"
        )
    note_on_harm(schedule)
    return schedule


def final_validation(
    grid: Grid, metas: Sequence[Tree], manifest: Manifest, plan: TrainingPlan, number: int
) -> Validation | None:
    """A validation of the trained parameters, with more trials than those during training.

    Args:
        grid: the connected nodes.
        metas: as in `calibrate`.
        manifest: manifest of the bundle.
        plan: plan of the run.
        number: round of the parameters.

    Returns:
        The mean over folds; None if no calibration user has enough rows.

    Raises:
        FederationError: no node replies.
    """
    questions = validation_candidates(plan.calibration.middle_k, manifest, DRAWS)
    records = (to_record(trained_part(meta, manifest.fixed_parameters)) for meta in metas)
    answers = (
        run_evaluation_round(
            grid,
            record,
            _request(plan, manifest, questions, fold),
            "validation",
            plan.calibration.nodes,
            rule=plan.updates.rule,
        )
        for fold, record in enumerate(records)
    )
    higher_is_better = plan.calibration.metric_for(manifest.spec).higher_is_better
    validations = (validation_from_sums(number, sums, higher_is_better) for sums in answers)
    return mean_validation([validation for validation in validations if validation is not None])


def _request(plan: TrainingPlan, manifest: Manifest, questions: Sequence[CandidateSet], fold: int) -> EvaluationRequest:
    """The evaluation request for these candidates, with the plan's metric, seed and share of calibration users."""
    metric = plan.calibration.metric_for(manifest.spec).name
    return EvaluationRequest(metric, plan.seed, plan.calibration.left_out_share, questions, fold)
