"""The training plan: name, type, default, meaning and check of every setting of a run.

Simulation, Ray and a SuperLink use the same plan. `tegu.server.run_config` writes it as Flower's run configuration.
Some settings may be None, which means automatic. `EarlyStopping.validate_every`, `CalibrationPlan.share` and
`CalibrationPlan.folds` depend on where the plan runs. `TrainingPlan.rounds`, `TrainingPlan.outer`, `CohortPlan.size`
and `EarlyStopping.until_flat` are what the learner recommends, or else general defaults; see
`tegu.server.training.automatic`.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace
from typing import Literal

from tegu.core.compression.precision import Precision, check_precision
from tegu.core.errors import DataError
from tegu.core.sampling.episode import EpisodeRule
from tegu.core.scalars import real_number, whole_number
from tegu.server.evaluation.early_stopping import Interval
from tegu.server.privacy.combination import check_combination
from tegu.server.privacy.plan import PrivacyPlan
from tegu.server.replies.aggregation import Aggregation, Rule, check_aggregation
from tegu.server.rounds.reply_plan import ReplyPlan
from tegu.server.training.calibration_plan import CalibrationPlan
from tegu.server.training.frozen import set_field
from tegu.server.training.outer_optimiser import OuterRule

__all__ = [
    "CohortPlan",
    "EarlyStopping",
    "TrainingPlan",
    "UpdatePlan",
]

_VALIDATIONS = 20  # of a run with automatic interval
_APART = 3  # rounds between the validations of a short run, since one may take longer than a round


@dataclass(frozen=True)
class CohortPlan:
    """Which nodes and users take part in a round.

    Attributes:
        size: number of nodes per round. In a simulation without `nodes`, number of users per round. None means what
            the learner recommends, or else 32.
        nodes: number of nodes in a simulation, over which the users are distributed. None makes each user a node. A
            federation ignores it and uses the connected nodes.
        users_per_node: number of a node's users that take part in a round; 0 for all of them.
        wait_seconds: how long a round waits until enough nodes are connected, see `tegu.server.rounds.waiting`.

    Raises:
        DataError: a number out of range.
    """

    size: int | None = None
    nodes: int | None = None
    users_per_node: int = 0
    wait_seconds: float = 60.0

    def __post_init__(self) -> None:
        if self.size is not None:
            set_field(self, "size", whole_number("cohort", self.size, 1))
        set_field(self, "users_per_node", whole_number("users_per_node", self.users_per_node, 0))
        set_field(self, "wait_seconds", real_number("wait_seconds", self.wait_seconds, 0))
        if self.nodes is not None:
            set_field(self, "nodes", whole_number("nodes", self.nodes, 1))


@dataclass(frozen=True)
class EarlyStopping:
    """How often calibration users validate the parameters, and when validation ends the run.

    Attributes:
        validate_every: rounds between validations; 0 for no validation, and "growing" for distances that grow with
            the rounds so far. None means "growing" with `until_flat`, and otherwise about twenty validations in a run
            in this process and in any run with patience. In a federation with neither, None means no validation,
            because each is a message to every node.
        patience: stop after this many validations without improvement, once the figure has clearly declined from its
            best (`tegu.server.evaluation.decline`). The best round's parameters are kept after a clear decline, and
            the last round's otherwise. 0 runs every round and keeps the last one's.
        until_flat: whether the run ends once the validation figures no longer rise, and keeps the last round that was
            about as good as the best (`tegu.server.evaluation.flatness`). `rounds` is then the most. With folds the
            first one ends so, and its number of rounds is that of the others, and in proportion to the users that of
            the last training. None means yes if neither the number of rounds nor the outer optimiser is set and the
            learner recommends it, and no otherwise.

    Raises:
        DataError: a negative number, a rule to stop without validations, or both rules.
    """

    validate_every: Interval | None = None
    patience: int = 0
    until_flat: bool | None = None

    def __post_init__(self) -> None:
        set_field(self, "patience", whole_number("patience", self.patience, 0))
        if self.validate_every not in (None, "growing"):
            set_field(self, "validate_every", whole_number("validate_every", self.validate_every, 0))
        if self.until_flat not in (None, True, False):
            raise DataError(f"until_flat is {self.until_flat!r}: expected True, False or None")
        if self.patience and self.until_flat:
            raise DataError(
                f"patience is {self.patience} and until_flat is True, which are two rules to stop: set patience to 0, "
                "or until_flat to False"
            )
        if (self.patience or self.until_flat) and self.validate_every == 0:
            rule = f"patience is {self.patience}" if self.patience else "until_flat is True"
            raise DataError(
                f"{rule} and validate_every is 0, which means no validation: set validate_every to at least 1, or "
                + ("patience to 0" if self.patience else "until_flat to False")
            )

    def interval(self, rounds: int, *, by_default: bool) -> Interval:
        """Rounds between the validations of a run; 0 for no validation.

        Args:
            rounds: number of rounds of the whole run.
            by_default: whether None means validation even without a rule to stop.
        """
        if self.validate_every is not None:
            return self.validate_every
        if self.until_flat:
            return "growing"
        return max(rounds // _VALIDATIONS, min(_APART, -(-rounds // 10))) if by_default or self.patience else 0


@dataclass(frozen=True)
class UpdatePlan:
    """How updates are clipped and sent.

    Attributes:
        precision: number format in which a node's update is sent: "float32", or "float16" or "int8" with error
            feedback.
        clip: largest norm of one user's update. Infinite for no clipping; "adaptive" for the norm that half of the
            users are within (`tegu.server.replies.adaptive_clip`). None means "adaptive" in a federation and no
            clipping in a simulation. The server enforces it: no reply is longer than its users times the clip.
        aggregation: "mean" over users; or "trimmed_mean", "median", "krum" or "multi_krum" over the nodes' mean updates
            (`tegu.server.replies.aggregation`), and over their answers in validation and calibration
            (`tegu.server.replies.robust_answers`).
        attackers: share of a round's nodes that may be false, from 0 to below 0.5: what the robust rules leave out.

    Raises:
        DataError: `clip` is not above 0, or `attackers` is out of range.
        UnknownNameError: no such precision or aggregation.
    """

    precision: Precision = "float32"
    clip: float | Literal["adaptive"] | None = None
    aggregation: Aggregation = "mean"
    attackers: float = 0.3

    def __post_init__(self) -> None:
        check_precision(self.precision)
        check_aggregation(self.aggregation)
        set_field(self, "attackers", real_number("attackers", self.attackers))
        if not 0 <= self.attackers < 0.5:
            raise DataError(f"attackers is {self.attackers}: expected a share of a round's nodes from 0 to below 0.5")
        if self.clip is None or self.clip == "adaptive":
            return
        set_field(self, "clip", real_number("clip", self.clip))
        if not float(self.clip) > 0:
            raise DataError(f"clip is {self.clip}: expected a norm above 0, infinity for no clipping, or 'adaptive'")

    def in_federation(self) -> UpdatePlan:
        """The plan with the automatic clip of a federation."""
        return replace(self, clip="adaptive") if self.clip is None else self

    def in_simulation(self) -> UpdatePlan:
        """The plan with the automatic clip of a simulation."""
        return replace(self, clip=math.inf) if self.clip is None else self

    @property
    def rule(self) -> Rule:
        """How the nodes' replies become one."""
        return Rule(self.aggregation, float(self.attackers))

    @property
    def first_clip(self) -> float:
        """The clip that the first round asks for; infinite where it is adaptive, or automatic."""
        return float(self.clip) if isinstance(self.clip, float | int) else math.inf


@dataclass(frozen=True, kw_only=True)
class TrainingPlan:
    """How to train and calibrate.

    Attributes:
        rounds: number of rounds of the whole run. None means what the learner recommends, or else 300; or 600 at
            most with `until_flat`.
        seed: determines initial parameters, cohorts, episodes and which users calibrate.
        cohort: nodes and users of a round.
        episodes: sizes of support and query.
        outer: the outer optimiser. None means what the learner recommends, or else SGD with step size 1, as in
            Reptile.
        updates: precision and clipping of updates.
        early_stopping: validation during the run.
        calibration: how the schedule is found.
        replies: when a round has enough replies.
        privacy: noise that protects each person. With noise on the mean, an automatic clip is adaptive, and automatic
            folds are 0.

    Raises:
        DataError: no rounds, patience although no user can validate, a quorum or a buffer that is larger than the
            cohort, or settings with which noise protects nobody.
    """

    rounds: int | None = None
    seed: int = 0
    cohort: CohortPlan = field(default_factory=CohortPlan)
    episodes: EpisodeRule = field(default_factory=EpisodeRule)
    outer: OuterRule | None = None
    updates: UpdatePlan = field(default_factory=UpdatePlan)
    early_stopping: EarlyStopping = field(default_factory=EarlyStopping)
    calibration: CalibrationPlan = field(default_factory=CalibrationPlan)
    replies: ReplyPlan = field(default_factory=ReplyPlan)
    privacy: PrivacyPlan = field(default_factory=PrivacyPlan)

    def __post_init__(self) -> None:
        if self.rounds is not None:
            set_field(self, "rounds", whole_number("rounds", self.rounds, 1))
        set_field(self, "seed", whole_number("seed", self.seed))
        for name, kind in _PARTS.items():
            part = getattr(self, name)
            if not isinstance(part, kind) and not (part is None and name in _MAY_BE_AUTOMATIC):
                raise DataError(f"{name} is {part!r}: expected {kind.__name__}(...)")
        self._settle_privacy()
        patience, folds = self.early_stopping.patience, self.calibration.folds
        if patience and folds:
            raise DataError(
                f"patience is {patience} with {folds} folds, but all users take part in the last training, so that no "
                "user can validate it: set patience or folds to 0"
            )
        rule = f"patience is {patience}" if patience else "until_flat is True"
        if (patience or self.early_stopping.until_flat) and self.calibration.share == 0 and not folds:
            raise DataError(
                f"{rule} and the share of calibration users is 0, so that no user can validate: "
                "set the share above 0, or stop by a number of rounds"
            )
        self._check_replies()

    def _check_replies(self) -> None:
        """A round cannot have more answers than it wants, nor a step more than nodes that are asked at a time."""
        size, quorum, buffer = self.cohort.size, self.replies.quorum, self.replies.buffer
        most = buffer or size
        if quorum is not None and most is not None and quorum > most:
            what = "buffer" if buffer else "cohort"
            raise DataError(f"quorum is {quorum} and {what} is {most}: expected a quorum of at most the {what}")
        if size is not None and buffer > size:
            raise DataError(
                f"buffer is {buffer} and cohort is {size}, the nodes that are asked at a time: expected a buffer of at "
                "most the cohort"
            )

    def _settle_privacy(self) -> None:
        """Fill in what noise decides, and refuse what excludes it."""
        if self.privacy.central and self.updates.clip is None:
            set_field(self, "updates", replace(self.updates, clip="adaptive"))
        if self.privacy.central and self.calibration.folds is None:
            set_field(self, "calibration", replace(self.calibration, folds=0))
        updates = self.updates
        check_combination(
            self.privacy,
            clip=updates.clip,
            aggregation=updates.aggregation,
            precision=updates.precision,
            folds=self.calibration.folds,
            buffer=self.replies.buffer,
        )

    def training_only(self) -> TrainingPlan:
        """The plan without validation and calibration."""
        calibration = replace(self.calibration, share=0.0, folds=0)
        return replace(self, early_stopping=_NEVER, calibration=calibration)


_NEVER = EarlyStopping(validate_every=0, until_flat=False)
_PARTS: dict[str, type] = {
    "cohort": CohortPlan,
    "episodes": EpisodeRule,
    "outer": OuterRule,
    "updates": UpdatePlan,
    "early_stopping": EarlyStopping,
    "calibration": CalibrationPlan,
    "replies": ReplyPlan,
    "privacy": PrivacyPlan,
}
_MAY_BE_AUTOMATIC = ("outer",)
