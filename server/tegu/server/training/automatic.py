"""The settings of a plan that are automatic: what a learner recommends, or else the general default.

`with_recommended` fills them in before a run, so that its records, its run configuration and its bundle hold what was
run. `settled` reads them from any plan.
"""

from __future__ import annotations

from dataclasses import replace
from typing import NamedTuple

from tegu.learners.learner import RecommendedTraining
from tegu.server.training.outer_optimiser import OuterRule
from tegu.server.training.plan import EarlyStopping, TrainingPlan

__all__ = ["MOST_ROUNDS", "ROUNDS", "Settled", "settled", "with_recommended"]

ROUNDS = 300
MOST_ROUNDS = 2400  # of a training that ends once validations no longer rise
_COHORT = 32
_OUTER = OuterRule()


class Settled(NamedTuple):
    """The settings of a plan that may be automatic, as they are run.

    Attributes:
        rounds: number of rounds.
        cohort: nodes per round, or users per round in a simulation without `nodes`.
        outer: the outer optimiser.
    """

    rounds: int
    cohort: int
    outer: OuterRule


def settled(plan: TrainingPlan) -> Settled:
    """The plan's rounds, cohort size and outer optimiser. The general default stands for what is None."""
    unless_set = MOST_ROUNDS if plan.early_stopping.until_flat else ROUNDS
    return Settled(
        unless_set if plan.rounds is None else plan.rounds,
        _COHORT if plan.cohort.size is None else plan.cohort.size,
        _OUTER if plan.outer is None else plan.outer,
    )


def with_recommended(plan: TrainingPlan, recommended: RecommendedTraining | None) -> TrainingPlan:
    """The plan without automatic values of these four settings.

    Args:
        plan: the plan. What it says stays.
        recommended: `Learner.recommended`; None takes the general defaults.

    Raises:
        DataError: the recommendation is out of range, or has an option that its optimiser does not have.
        UnknownNameError: no such optimiser.
    """
    plan = replace(plan, early_stopping=_settled_stopping(plan, recommended))
    if recommended is not None:
        name, lr, options, decay, rounds, cohort, _, averaged, _ = recommended
        plan = replace(
            plan,
            rounds=rounds if plan.rounds is None else plan.rounds,
            cohort=replace(plan.cohort, size=cohort if plan.cohort.size is None else plan.cohort.size),
            outer=OuterRule(name, lr, dict(options), decay, averaged) if plan.outer is None else plan.outer,
        )
    rounds, cohort, outer = settled(plan)
    return replace(plan, rounds=rounds, cohort=replace(plan.cohort, size=cohort), outer=outer)


def _settled_stopping(plan: TrainingPlan, recommended: RecommendedTraining | None) -> EarlyStopping:
    """The plan's rule to stop. That of the learner belongs to its own rounds and optimiser, and needs validations."""
    stopping = plan.early_stopping
    if stopping.until_flat is not None:
        return stopping
    own = plan.rounds is None and plan.outer is None and not stopping.patience and stopping.validate_every != 0
    can_validate = plan.calibration.share != 0 or bool(plan.calibration.folds)
    return replace(stopping, until_flat=bool(recommended and recommended.until_flat and own and can_validate))
