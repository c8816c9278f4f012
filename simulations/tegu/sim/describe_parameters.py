"""What trains, what adapts on a device, and what is fixed, in one sentence."""

from __future__ import annotations

from collections.abc import Sequence

from tegu.core.data.tree import trained_part
from tegu.learners.learner import Learner

__all__ = ["describe_parameters"]

_SHOWN = 3


def describe_parameters(learner: Learner) -> str:
    """The learner's trained, adapted and fixed parameters: how many, and the names of the first."""
    trained = tuple(trained_part(learner.init(0), (*learner.fixed_parameters, *learner.untrained_parameters)))
    return (
        f"parameters: {_listed(trained)} train, {_listed(learner.adapted_parameters)} adapt on a device, "
        f"{_listed(learner.fixed_parameters)} are fixed"
    )


def _listed(names: Sequence[str]) -> str:
    if not names:
        return "none"
    more = ", ..." if len(names) > _SHOWN else ""
    return f"{len(names)} ({', '.join(names[:_SHOWN])}{more})"
