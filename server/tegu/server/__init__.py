"""The federated server: rounds of training, validation and calibration over a Flower federation.

app           the Flower ServerApp
run_config    a training plan as Flower's run configuration, and back
versioned     rounds that say which bundle they are for
progress      what a run tells while it goes on
training      the plan, the strategy, the outer optimiser, checkpoints, cross-fitting
rounds        how a round ends: whom to ask, how long to wait, which answers count
replies       checks of what nodes send, and how it is combined
evaluation    evaluation rounds, validation while training goes on, early stopping
calibration   choosing a bundle's schedule
privacy       noise that protects each person, and its account
deployment    Flower's own processes on this machine
serving       a federation that one file describes: `tegu serve`, `tegu join` and their helpers

Names are imported on first use.
"""

from typing import TYPE_CHECKING

from tegu.core.lazy import lazy_exports

if TYPE_CHECKING:
    from tegu.server.app import APP_DIR, train
    from tegu.server.deployment.local_flower import FlowerRun, LocalFlower, local_federation, local_simulation
    from tegu.server.privacy.plan import PrivacyPlan
    from tegu.server.progress import Progress, RoundProgress
    from tegu.server.run_config import from_config, to_config
    from tegu.server.training.calibration_plan import CalibrationPlan
    from tegu.server.training.outer_optimiser import OuterRule
    from tegu.server.training.plan import CohortPlan, EarlyStopping, TrainingPlan, UpdatePlan
    from tegu.server.training.strategy import MetaStrategy
else:  # hidden from type checkers, which would otherwise accept misspelt names
    __getattr__, __dir__ = lazy_exports(
        __name__,
        {
            "APP_DIR": "app",
            "CalibrationPlan": "training.calibration_plan",
            "CohortPlan": "training.plan",
            "EarlyStopping": "training.plan",
            "FlowerRun": "deployment.local_flower",
            "LocalFlower": "deployment.local_flower",
            "MetaStrategy": "training.strategy",
            "OuterRule": "training.outer_optimiser",
            "PrivacyPlan": "privacy.plan",
            "Progress": "progress",
            "RoundProgress": "progress",
            "TrainingPlan": "training.plan",
            "UpdatePlan": "training.plan",
            "from_config": "run_config",
            "local_federation": "deployment.local_flower",
            "local_simulation": "deployment.local_flower",
            "to_config": "run_config",
            "train": "app",
        },
        extra="server",
    )

__all__ = [
    "APP_DIR",
    "CalibrationPlan",
    "CohortPlan",
    "EarlyStopping",
    "FlowerRun",
    "LocalFlower",
    "MetaStrategy",
    "OuterRule",
    "PrivacyPlan",
    "Progress",
    "RoundProgress",
    "TrainingPlan",
    "UpdatePlan",
    "from_config",
    "local_federation",
    "local_simulation",
    "to_config",
    "train",
]
