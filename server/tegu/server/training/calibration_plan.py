"""The part of a training plan that says who calibrates, at which numbers of interactions, and within which limits."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple

from tegu.core.calibration.harm import HARM_RATIO, MATERIAL
from tegu.core.calibration.selection.limits import CONFIDENCE, RISK, Limits, Risk
from tegu.core.data.spec import Spec
from tegu.core.errors import DataError
from tegu.core.metrics import Metric, default_metric
from tegu.core.scalars import real_number, whole_number
from tegu.server.training.frozen import set_field

__all__ = ["ALL_USERS_TRAIN", "CalibrationPlan", "LeftOut"]

_AUTOMATIC_SHARE = 0.1  # of users who calibrate, in a federation


class LeftOut(NamedTuple):
    """Users who take no part in a training and calibrate its result; see `tegu.core.calibration.assignment`.

    Attributes:
        share: share of all users in one fold; 0 leaves out no user.
        fold: the fold that is left out, from 0.
    """

    share: float = 0.0
    fold: int = 0


ALL_USERS_TRAIN = LeftOut()


@dataclass(frozen=True)
class CalibrationPlan:
    """How the schedule is found, which sets how to adapt at each number of interactions.

    Attributes:
        share: share of all users who calibrate and never train, from 0 to 0.5. 0 keeps the bundle's own schedule. None
            means 0.1, and up to 0.2 in a simulation of fewer than 300 users.
        folds: number of folds for cross-fitting, at least 2. Every user trains, and calibrates parameters that were
            trained without the user's fold; each fold costs one more training. In a simulation a fold's training has
            fewer rounds in proportion to its users. 0 for no cross-fitting: a `share` of the users calibrates. None
            means 2 in a simulation if fewer than 60 users would calibrate, patience is 0 and the backend is
            in-process; 4 if only folds that small leave enough users for a cohort; and otherwise 0.
        nodes: number of nodes of a federation that calibrate; 0 for all connected nodes.
        ks: numbers of interactions to calibrate for. A simulation also evaluates at these.
        metric: metric for validation and evaluation; None for the default of the problem: accuracy,
            recall@10, the mean squared error, or its root for numbers by item id.
        risk: largest share of users that adapting may materially hurt at any k; see `tegu.core.calibration.harm`. From
            above 0 to 1. "strict" limits those to 0.05 who lose more than one query row's worth, however little that
            is; the three settings below then have no effect.
        material: share of a user's own figure under the initialisation whose loss is material, from 0 to 1. 0 means
            more than one query row's worth.
        harm_ratio: largest ratio of the losses of losers to the gains of gainers, less the noise of few query rows
            (`tegu.core.calibration.harm.harm_ratio_less_noise`), from 0; infinite for no limit.
        confidence: with which calibration is to show that at most `risk` are hurt, from 0.5 to below 1. It is an error
            if too few users calibrate to show it. None means 0.9, and no error: where too few users calibrate, the
            schedule says what they show and how many it would take.

    Raises:
        DataError: a number out of range, or no k.
    """

    share: float | None = None
    folds: int | None = None
    nodes: int = 0
    ks: tuple[int, ...] = (1, 2, 5, 10, 20)
    metric: Metric | None = None
    risk: Risk = RISK
    material: float = MATERIAL
    harm_ratio: float = HARM_RATIO
    confidence: float | None = None

    def __post_init__(self) -> None:
        if self.share is not None:
            set_field(self, "share", real_number("share", self.share))
        if self.folds is not None:
            set_field(self, "folds", whole_number("folds", self.folds))
        if self.share is not None and not 0 <= self.share <= 0.5:  # the comparison group is as large again
            raise DataError(f"share is {self.share}: expected from 0 to 0.5 of all users for calibration")
        if self.folds is not None and (self.folds < 0 or self.folds == 1):  # with one fold no user would train
            raise DataError(f"folds is {self.folds}: expected 0 for no cross-fitting, or at least 2")
        set_field(self, "nodes", whole_number("nodes that calibrate", self.nodes, 0))
        set_field(self, "ks", _ks(self.ks))
        if not isinstance(self.metric, Metric | None):
            raise DataError(f"metric is {self.metric!r}: expected a Metric; tegu.core.find_metric(name) gives one")
        if not self.ks or min(self.ks) < 1:
            raise DataError(f"ks is {self.ks}: expected at least one number of interactions, each at least 1")
        _check_harm(self)

    def metric_for(self, spec: Spec) -> Metric:
        """The plan's metric, or the default one for the spec."""
        return self.metric or default_metric(spec)

    @property
    def limits(self) -> Limits | None:
        """The limits on harm; None for `risk="strict"`."""
        if self.risk == "strict":
            return None
        confidence, must_show = CONFIDENCE if self.confidence is None else self.confidence, self.confidence is not None
        return Limits(float(self.risk), self.material, self.harm_ratio, confidence, must_show)

    @property
    def middle_k(self) -> int:
        """The middle one of `ks`, at which a federation validates."""
        return sorted(self.ks)[len(self.ks) // 2]

    @property
    def left_out_share(self) -> float:
        """The share of all users that a federation leaves out of a training to calibrate its result."""
        if self.folds:
            return 1 / self.folds
        return _AUTOMATIC_SHARE if self.share is None else self.share

    def left_out(self, fold: int | None) -> LeftOut:
        """The users left out of a fold's training. A fold of None stands for the training with all users."""
        return ALL_USERS_TRAIN if fold is None else LeftOut(self.left_out_share, fold)


def _check_harm(plan: CalibrationPlan) -> None:
    """Check the limits on harm, and make them Python's own numbers."""
    if plan.risk != "strict":
        if isinstance(plan.risk, str):
            raise DataError(f"risk is {plan.risk!r}: expected a share of users from 0 to 1, or 'strict'")
        set_field(plan, "risk", real_number("risk", plan.risk))
        if not 0 <= float(plan.risk) <= 1:
            raise DataError(f"risk is {plan.risk}: expected a share of users from 0 to 1, or 'strict'")
    named = ("material", "harm_ratio") if plan.confidence is None else ("material", "harm_ratio", "confidence")
    for name in named:
        set_field(plan, name, real_number(name, getattr(plan, name)))
    if not 0 <= plan.material <= 1:
        raise DataError(
            f"material is {plan.material}: expected a share of a user's own figure from 0 to 1, such as 0.05"
        )
    if not plan.harm_ratio >= 0:
        raise DataError(
            f"harm_ratio is {plan.harm_ratio}: expected a ratio of losses to gains of at least 0, such as 0.2"
        )
    if plan.confidence is not None and not 0.5 <= plan.confidence < 1:
        raise DataError(
            f"confidence is {plan.confidence}: expected from 0.5 to below 1, such as 0.9; no number of people shows "
            "anything with certainty"
        )


def _ks(ks: Any) -> tuple[int, ...]:
    try:
        return tuple(whole_number("a number of interactions in ks", k) for k in ks)
    except TypeError as error:
        raise DataError(f"ks is {ks!r}: expected numbers of interactions, such as (1, 5, 10)") from error
