"""What an adaptation did."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["AdaptReport"]


@dataclass(frozen=True)
class AdaptReport:
    """The account of one `Personalizer.adapt`.

    Attributes:
        steps: steps taken; 1 for a learner that adapts in closed form.
        scheduled_steps: steps the schedule asks for with so many interactions; more than `steps` where the
            budget did not allow them.
        interactions: rows adapted on.
        lr: the learning rate; None for a learner without one.
        milliseconds: from the call until the state was computed, reading the store included, saving not.
        kept: whether the result is in use; if not, the state from before is.
        reason: why, for people.
        others: mean and standard deviation of what the calibration users gained by this way of adapting with so many
            interactions, in the metric; None where nothing was calibrated for them.
        evidence: for a learner that corrects in closed form: how much smaller the squared error of one of the user's
            own interactions is for what the others tell, on average; None for other learners.
        in_use: share of the correction that is in use, from 0 to 1; None for other learners.
        typical: the share of people never trained on whose interactions the initialisation fits no better than the
            user's, a conformal p-value: of users like them one in twenty is at 0.05 or below. None where nothing was
            calibrated for so many interactions.
        effective: so many interactions of one weight are as good: fewer than there are where older ones count less
            (`half_life`). Rounded, it is what the schedule goes by.
    """

    steps: int
    scheduled_steps: int
    interactions: int
    lr: float | None
    milliseconds: float
    kept: bool
    reason: str
    others: tuple[float, float] | None = None
    evidence: float | None = None
    in_use: float | None = None
    typical: float | None = None
    effective: float | None = None
