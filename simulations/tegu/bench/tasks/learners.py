"""A work as a learner of Tegu's."""

from __future__ import annotations

from tegu.bench.tasks.models import MODELS
from tegu.bench.tasks.task import Work
from tegu.learners import Learner, reptile

__all__ = ["make_learner"]


def make_learner(work: Work) -> Learner:
    """Reptile as the work has it."""
    kind = MODELS[work.model]
    return reptile(kind.build(), kind.spec, fast=work.fast, steps=work.steps, lr=work.lr, prior=work.prior)
