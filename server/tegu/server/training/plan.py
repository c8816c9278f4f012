"""The training plan: name, type, default, meaning and check of every setting of a run.

Simulation, Ray and a SuperLink use the same plan. `tegu.server.run_config` writes it as Flower's run configuration.
Some settings may be None, which means automatic. `EarlyStopping.validate_every`, `CalibrationPlan.share` and
`CalibrationPlan.folds` depend on where the plan runs. `TrainingPlan.rounds`, `TrainingPlan.outer` and `CohortPlan.size`
are what the learner recommends, or else general defaults; see `tegu.server.training.automatic`.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple

from tegu.core.calibration.harm import HARM_RATIO, MATERIAL
from tegu.core.calibration.selection.limits import CONFIDENCE, RISK, Limits, Risk
from tegu.core.compression.precision import Precision, check_precision
from tegu.core.data.spec import Spec
from tegu.core.errors import DataError
from tegu.core.metrics import Metric, default_metric
from tegu.core.sampling.episode import EpisodeRule
from tegu.core.scalars import real_number, whole_number
from tegu.server.training.outer_optimiser import OuterRule

__all__ = [
    "ALL_USERS_TRAIN",
    "CalibrationPlan",
    "CohortPlan",
    "EarlyStopping",
    "LeftOut",
    "TrainingPlan",
    "UpdatePlan",
]

_VALIDATIONS = 20  # of a run with automatic interval
_AUTOMATIC_SHARE = 0.1  # of users who calibrate, in a federation


@dataclass(frozen=True)
class CohortPlan:
    """Which nodes and users take part in a round.

    Attributes:
        size: number of nodes per round. In a simulation without `nodes`, number of users per round. None means what
            the learner recommends, or else 32.
        nodes: number of nodes in a simulation, over which the users are distributed. None makes each user a node. A
            federation ignores it and uses the connected nodes.
        users_per_node: number of a node's users that take part in a round; 0 for all of them.
        wait_seconds: how long a round waits until enough nodes are connected.

    Raises:
        DataError: a number out of range.
    """

    size: int | None = None
    nodes: int | None = None
    users_per_node: int = 0
    wait_seconds: float = 60.0

    def __post_init__(self) -> None:
        if self.size is not None:
            _set(self, "size", whole_number("cohort", self.size, 1))
        _set(self, "users_per_node", whole_number("users_per_node", self.users_per_node, 0))
        _set(self, "wait_seconds", real_number("wait_seconds", self.wait_seconds, 0))
        if self.nodes is not None:
            _set(self, "nodes", whole_number("nodes", self.nodes, 1))


@dataclass(frozen=True)
class EarlyStopping:
    """How often calibration users validate the parameters, and when validation ends the run.

    Attributes:
        validate_every: rounds between validations; 0 for no validation. None means about twenty validations in a run
            in this process and in any run with patience. In a federation without patience None means no validation,
            because each is a message to every node.
        patience: stop after this many validations without improvement, once the figure has clearly declined from its
            best (`tegu.server.evaluation.decline`). The best round's parameters are kept after a clear decline, and
            the last round's otherwise. 0 runs every round and keeps the last one's.

    Raises:
        DataError: a negative number, or patience without validations.
    """

    validate_every: int | None = None
    patience: int = 0

    def __post_init__(self) -> None:
        _set(self, "patience", whole_number("patience", self.patience, 0))
        if self.validate_every is not None:
            _set(self, "validate_every", whole_number("validate_every", self.validate_every, 0))
        if self.patience and self.validate_every == 0:
            raise DataError(
                f"patience is {self.patience} and validate_every is 0, which means no validation: set "
                "validate_every to at least 1, or patience to 0"
            )

    def interval(self, rounds: int, *, by_default: bool) -> int:
        """Rounds between the validations of a run; 0 for no validation.

        Args:
            rounds: number of rounds of the whole run.
            by_default: whether None means validation even without patience.
        """
        if self.validate_every is not None:
            return self.validate_every
        return max(1, rounds // _VALIDATIONS) if by_default or self.patience else 0


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
            trained without the user's fold; each fold costs one more training. 0 for no cross-fitting: a `share` of
            the users calibrates. None means 4 in a simulation if fewer than 60 users would calibrate, each fold still
            fills a cohort, patience is 0 and the backend is in-process, and otherwise 0.
        nodes: number of nodes of a federation that calibrate; 0 for all connected nodes.
        ks: numbers of interactions to calibrate for. A simulation also evaluates at these.
        metric: metric for validation and evaluation; None for the default metric of the kind of problem.
        risk: largest share of users that adapting may materially hurt at any k; see `tegu.core.calibration.harm`. From
            above 0 to 1. "strict" limits those to 0.05 who lose more than one query row's worth, however little that
            is; the three settings below then have no effect.
        material: share of a user's own figure under the initialisation whose loss is material, from 0 to 1. 0 means
            more than one query row's worth.
        harm_ratio: largest ratio of the losses of losers to the gains of gainers, from 0; infinite for no limit.
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
            _set(self, "share", real_number("share", self.share))
        if self.folds is not None:
            _set(self, "folds", whole_number("folds", self.folds))
        if self.share is not None and not 0 <= self.share <= 0.5:  # the comparison group is as large again
            raise DataError(f"share is {self.share}: expected from 0 to 0.5 of all users for calibration")
        if self.folds is not None and (self.folds < 0 or self.folds == 1):  # with one fold no user would train
            raise DataError(f"folds is {self.folds}: expected 0 for no cross-fitting, or at least 2")
        _set(self, "nodes", whole_number("nodes that calibrate", self.nodes, 0))
        _set(self, "ks", _ks(self.ks))
        if not isinstance(self.metric, Metric | None):
            raise DataError(f"metric is {self.metric!r}: expected a Metric; tegu.core.find_metric(name) gives one")
        if not self.ks or min(self.ks) < 1:
            raise DataError(f"ks is {self.ks}: expected at least one number of interactions, each at least 1")
        _check_harm(self)

    def metric_for(self, spec: Spec) -> Metric:
        """The plan's metric, or the default one for the spec."""
        return self.metric or default_metric(spec.kind)

    @property
    def limits(self) -> Limits | None:
        """The limits on harm; None for `risk="strict"`."""
        if self.risk == "strict":
            return None
        confidence, insists = CONFIDENCE if self.confidence is None else self.confidence, self.confidence is not None
        return Limits(float(self.risk), self.material, self.harm_ratio, confidence, insists)

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


@dataclass(frozen=True)
class UpdatePlan:
    """How updates are clipped and sent.

    Attributes:
        precision: number format in which a node's update is sent: "float32", or "float16" or "int8" with error
            feedback.
        clip: largest norm of one user's update; infinite for no clipping.

    Raises:
        DataError: `clip` is not above 0.
        UnknownNameError: no such precision.
    """

    precision: Precision = "float32"
    clip: float = math.inf

    def __post_init__(self) -> None:
        check_precision(self.precision)
        _set(self, "clip", real_number("clip", self.clip))
        if not self.clip > 0:
            raise DataError(f"clip is {self.clip}: expected a norm above 0, or infinity for no clipping")


@dataclass(frozen=True, kw_only=True)
class TrainingPlan:
    """How to train and calibrate.

    Attributes:
        rounds: number of rounds of the whole run. None means what the learner recommends, or else 300.
        seed: determines initial parameters, cohorts, episodes and which users calibrate.
        cohort: nodes and users of a round.
        episodes: sizes of support and query.
        outer: the outer optimiser. None means what the learner recommends, or else SGD with step size 1, as in
            Reptile.
        updates: precision and clipping of updates.
        early_stopping: validation during the run.
        calibration: how the schedule is found.

    Raises:
        DataError: no rounds, or patience although no user can validate.
    """

    rounds: int | None = None
    seed: int = 0
    cohort: CohortPlan = field(default_factory=CohortPlan)
    episodes: EpisodeRule = field(default_factory=EpisodeRule)
    outer: OuterRule | None = None
    updates: UpdatePlan = field(default_factory=UpdatePlan)
    early_stopping: EarlyStopping = field(default_factory=EarlyStopping)
    calibration: CalibrationPlan = field(default_factory=CalibrationPlan)

    def __post_init__(self) -> None:
        if self.rounds is not None:
            _set(self, "rounds", whole_number("rounds", self.rounds, 1))
        _set(self, "seed", whole_number("seed", self.seed))
        for name, kind in _PARTS.items():
            part = getattr(self, name)
            if not isinstance(part, kind) and not (part is None and name in _MAY_BE_AUTOMATIC):
                raise DataError(f"{name} is {part!r}: expected {kind.__name__}(...)")
        patience, folds = self.early_stopping.patience, self.calibration.folds
        if patience and folds:
            raise DataError(
                f"patience is {patience} with {folds} folds, but all users take part in the last training, so that no "
                "user can validate it: set patience or folds to 0"
            )
        if patience and self.calibration.share == 0:
            raise DataError(
                f"patience is {patience} and the share of calibration users is 0, so that no user can validate: "
                "set the share above 0, or patience to 0"
            )

    def training_only(self) -> TrainingPlan:
        """The plan without validation and calibration."""
        calibration = replace(self.calibration, share=0.0, folds=0)
        return replace(self, early_stopping=EarlyStopping(validate_every=0), calibration=calibration)


_PARTS: dict[str, type] = {
    "cohort": CohortPlan,
    "episodes": EpisodeRule,
    "outer": OuterRule,
    "updates": UpdatePlan,
    "early_stopping": EarlyStopping,
    "calibration": CalibrationPlan,
}
_MAY_BE_AUTOMATIC = ("outer",)


def _set(plan: object, name: str, value: object) -> None:
    object.__setattr__(plan, name, value)  # a plan is frozen, and holds Python's own numbers


def _check_harm(plan: CalibrationPlan) -> None:
    """Check the limits on harm, and make them Python's own numbers."""
    if plan.risk != "strict":
        if isinstance(plan.risk, str):
            raise DataError(f"risk is {plan.risk!r}: expected a share of users from 0 to 1, or 'strict'")
        _set(plan, "risk", real_number("risk", plan.risk))
        if not 0 <= float(plan.risk) <= 1:
            raise DataError(f"risk is {plan.risk}: expected a share of users from 0 to 1, or 'strict'")
    named = ("material", "harm_ratio") if plan.confidence is None else ("material", "harm_ratio", "confidence")
    for name in named:
        _set(plan, name, real_number(name, getattr(plan, name)))
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
