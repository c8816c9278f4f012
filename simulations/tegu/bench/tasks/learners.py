"""The learner of a task, for Tegu."""

from __future__ import annotations

from tegu.bench.tasks.models import MODELS
from tegu.bench.tasks.task import TaskSettings
from tegu.learners import Learner, reptile

__all__ = ["make_learner"]


def make_learner(settings: TaskSettings) -> Learner:
    """Reptile with the settings of a task."""
    model = MODELS[settings.model]
    return reptile(
        model.build(),
        model.spec,
        adapted_parameters=settings.adapted_parameters,
        steps=settings.steps,
        lr=settings.lr,
        prior=settings.prior,
        init="fresh",
    )
