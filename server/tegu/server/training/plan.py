"""How to train: every setting of a run, named, typed, defaulted and checked here and nowhere else.

Simulation, Ray and a SuperLink take the same plan; `tegu.server.run_config` writes it as Flower's run configuration.
Three settings may be None, which means automatic: what is best depends on where the plan is carried out.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace
from typing import NamedTuple

from tegu.core.calibration.selection import RISK
from tegu.core.compression.precision import Precision, check_precision
from tegu.core.data.spec import Spec
from tegu.core.errors import DataError
from tegu.core.metrics import Metric, default_metric
from tegu.core.sampling.episode import EpisodeRule
from tegu.server.training.outer_optimiser import OuterRule

__all__ = [
    "EVERYBODY_TRAINS",
    "CalibrationPlan",
    "CohortPlan",
    "EarlyStopping",
    "LeftOut",
    "TrainingPlan",
    "UpdatePlan",
]

_VALIDATIONS = 20  # in a run whose plan leaves their interval open
_SHARE = 0.1  # of users who calibrate in a federation, where the plan leaves it open


@dataclass(frozen=True)
class CohortPlan:
    """Who takes part in a round.

    Attributes:
        size: nodes a round; in a simulation without `nodes`, users a round.
        nodes: of a simulation, which deals the users out to them; None for each user a node. In a federation the nodes
            are those that are connected.
        users_per_node: how many of a node's users take part in a round; 0 for all of them.
        wait_seconds: how long a round waits until enough nodes are connected.

    Raises:
        DataError: a number out of range.
    """

    size: int = 32
    nodes: int | None = None
    users_per_node: int = 0
    wait_seconds: float = 60.0

    def __post_init__(self) -> None:
        _at_least("cohort", self.size, 1)
        _at_least("users_per_node", self.users_per_node, 0)
        _at_least("wait_seconds", self.wait_seconds, 0)
        if self.nodes is not None:
            _at_least("nodes", self.nodes, 1)


@dataclass(frozen=True)
class EarlyStopping:
    """When calibration users validate the parameters, and when that ends the run.

    Attributes:
        validate_every: rounds between validations; 0 for none. None for about twenty in a run of this process or with
            patience, and for none in a federation without, where each is a message to every node.
        patience: stop after this many validations without improvement, once the figure has clearly declined from its
            best (`tegu.server.evaluation.decline`). The best round's parameters are kept after a clear decline, and
            the last round's otherwise. 0 runs every round and keeps the last one's.

    Raises:
        DataError: a negative number, or patience without validations.
    """

    validate_every: int | None = None
    patience: int = 0

    def __post_init__(self) -> None:
        _at_least("patience", self.patience, 0)
        if self.validate_every is not None:
            _at_least("validate_every", self.validate_every, 0)
        if self.patience and self.validate_every == 0:
            raise DataError(
                f"patience is {self.patience} and validate_every is 0, so that nothing is validated: set "
                "validate_every to at least 1, or patience to 0"
            )

    def interval(self, rounds: int, *, by_default: bool) -> int:
        """Rounds between the validations of a run of so many rounds; 0 for none.

        Args:
            rounds: of the whole run.
            by_default: validate where the plan does not say.
        """
        if self.validate_every is not None:
            return self.validate_every
        return max(1, rounds // _VALIDATIONS) if by_default or self.patience else 0


class LeftOut(NamedTuple):
    """Users who take no part in a training, to judge what it gives; see `tegu.core.calibration.assignment`.

    Attributes:
        share: of all users; 0 for nobody.
        fold: which share.
    """

    share: float = 0.0
    fold: int = 0


EVERYBODY_TRAINS = LeftOut()


@dataclass(frozen=True)
class CalibrationPlan:
    """How the schedule is found, which says how to adapt with each number of interactions.

    Attributes:
        share: of all users who calibrate and never train; 0 keeps a bundle's own schedule, at most 0.5. None for a
            tenth, and in a simulation of fewer than 300 users up to a fifth.
        folds: 2 or more for cross-fitting: every user trains, and calibrates parameters that were trained without the
            user's fold, for as many further trainings. 0 for `share`. None for 4 in a simulation where fewer than 60
            users would calibrate, each fold still fills a cohort, patience is 0 and the backend is in-process, and
            otherwise for 0.
        nodes: of a federation, how many are asked to calibrate; 0 for all that are connected.
        ks: numbers of interactions to calibrate for, and in a simulation to judge at.
        metric: what to judge by; None for the usual one of the kind of problem.
        risk: the largest share of users that adapting may hurt at any k, by what calibration users show.

    Raises:
        DataError: a number out of range, or no k.
    """

    share: float | None = None
    folds: int | None = None
    nodes: int = 0
    ks: tuple[int, ...] = (1, 2, 5, 10, 20)
    metric: Metric | None = None
    risk: float = RISK

    def __post_init__(self) -> None:
        if self.share is not None and not 0 <= self.share <= 0.5:  # as many again are compared with those who calibrate
            raise DataError(f"share is {self.share}: expected from 0 to 0.5 of all users to calibrate")
        if self.folds is not None and (self.folds < 0 or self.folds == 1):  # one fold would train on nobody
            raise DataError(f"folds are {self.folds}: expected 0 for none, or 2 and more")
        _at_least("nodes that calibrate", self.nodes, 0)
        if not self.ks or min(self.ks) < 1:
            raise DataError(f"ks are {self.ks}: expected one number of interactions or more, each at least 1")
        if not 0 <= self.risk <= 1:
            raise DataError(f"risk is {self.risk}: expected a share of users from 0 to 1")

    def metric_for(self, spec: Spec) -> Metric:
        """What to judge by."""
        return self.metric or default_metric(spec.kind)

    @property
    def middle_k(self) -> int:
        """The middle one of `ks`, at which a federation validates."""
        return sorted(self.ks)[len(self.ks) // 2]

    @property
    def left_out_share(self) -> float:
        """The share of all users that a federation leaves out of a training, to judge it."""
        if self.folds:
            return 1 / self.folds
        return _SHARE if self.share is None else self.share

    def left_out(self, fold: int | None) -> LeftOut:
        """Who is left out of the training of this fold; of that with everybody, for None."""
        return EVERYBODY_TRAINS if fold is None else LeftOut(self.left_out_share, fold)


@dataclass(frozen=True)
class UpdatePlan:
    """What becomes of a user's update.

    Attributes:
        precision: of a node's update as it is sent: "float32", or "float16" or "int8" with error feedback.
        clip: largest norm of one user's update; infinite for none.

    Raises:
        DataError: `clip` is not above 0.
        UnknownNameError: no such precision.
    """

    precision: Precision = "float32"
    clip: float = math.inf

    def __post_init__(self) -> None:
        check_precision(self.precision)
        if not self.clip > 0:
            raise DataError(f"clip is {self.clip}: expected a norm above 0, infinite for none")


@dataclass(frozen=True, kw_only=True)
class TrainingPlan:
    """How to train and calibrate.

    Attributes:
        rounds: of the whole run.
        seed: decides first parameters, cohorts, episodes and who calibrates.
        cohort: who takes part in a round.
        episodes: how much of a user becomes support and query.
        outer: the outer optimiser; by default SGD with rate 1, which is Reptile's own.
        updates: precision and clipping of updates.
        early_stopping: validations while the run goes on.
        calibration: how the schedule is found.

    Raises:
        DataError: no rounds, or patience where nobody can validate.
    """

    rounds: int = 300
    seed: int = 0
    cohort: CohortPlan = field(default_factory=CohortPlan)
    episodes: EpisodeRule = field(default_factory=EpisodeRule)
    outer: OuterRule = field(default_factory=OuterRule)
    updates: UpdatePlan = field(default_factory=UpdatePlan)
    early_stopping: EarlyStopping = field(default_factory=EarlyStopping)
    calibration: CalibrationPlan = field(default_factory=CalibrationPlan)

    def __post_init__(self) -> None:
        _at_least("rounds", self.rounds, 1)
        patience, folds = self.early_stopping.patience, self.calibration.folds
        if patience and folds:
            raise DataError(
                f"patience is {patience} with {folds} folds: every user has a part in the last training, which leaves "
                "nobody to validate it; set patience or folds to 0"
            )
        if patience and self.calibration.share == 0:
            raise DataError(
                f"patience is {patience} and the share of calibration users is 0, which leaves nobody to validate: "
                "set the share above 0, or patience to 0"
            )

    def training_only(self) -> TrainingPlan:
        """The plan without validation and calibration."""
        calibration = replace(self.calibration, share=0.0, folds=0)
        return replace(self, early_stopping=EarlyStopping(validate_every=0), calibration=calibration)


def _at_least(name: str, value: float, least: int) -> None:
    if not value >= least:
        raise DataError(f"{name} is {value}: expected at least {least}")
