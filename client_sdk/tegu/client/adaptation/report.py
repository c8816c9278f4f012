"""The report of an adaptation."""

from __future__ import annotations

from dataclasses import dataclass, replace

__all__ = ["AdaptReport"]


@dataclass(frozen=True)
class AdaptReport:
    """What one call of `Personalizer.adapt` did.

    Attributes:
        steps: steps taken; 1 for a learner that adapts in closed form.
        scheduled_steps: steps that the schedule sets for this number of interactions. Above `steps` where the time
            budget ran out.
        interactions: number of interactions adapted on.
        lr: learning rate; None for a learner without one.
        milliseconds: from the call until the state was computed. Includes reading the store, but not saving.
        kept: whether the new state is in use. If False, the previous state stays in use.
        reason: explanation for people.
        calibration_gain: mean and standard deviation of the gain, in the metric, of calibration users with as many
            interactions and the same knobs. None where nothing was calibrated for this number of interactions.
        loo_improvement: leave-one-out improvement: how much adapting to the user's other interactions reduces the
            squared error of one interaction, on average. For a learner that corrects in closed form; None for others.
        applied_share: share of the correction that is applied, from 0 to 1; None for other learners.
        typicality: conformal p-value: the share of calibration users whose interactions fit the initialisation no
            better than this user's. One in twenty comparable users has 0.05 or less. None where nothing was calibrated
            for this number of interactions.
        effective_sample_size: Kish's effective sample size. Below `interactions` where older interactions have less
            weight (`half_life`). Rounded, it selects the schedule entry.
        unused: number of interactions that were read and not adapted on, because the bundle lacks their items or
            labels. All are read but for a bundle with a window (`Manifest.window`).
    """

    steps: int
    scheduled_steps: int
    interactions: int
    lr: float | None
    milliseconds: float
    kept: bool
    reason: str
    calibration_gain: tuple[float, float] | None = None
    loo_improvement: float | None = None
    applied_share: float | None = None
    typicality: float | None = None
    effective_sample_size: float | None = None
    unused: int = 0

    def without(self, unused: int) -> AdaptReport:
        """The report of an adaptation that left out `unused` interactions."""
        if not unused:
            return self
        of = "An interaction has an item or a label" if unused == 1 else f"{unused} interactions have items or labels"
        kept = "it is" if unused == 1 else "they are"
        return replace(
            self, unused=unused, reason=f"{self.reason} {of} that this bundle lacks: {kept} stored, but not used."
        )
