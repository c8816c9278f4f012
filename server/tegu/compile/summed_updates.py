"""The sum of many users' updates that nobody clips, as the learner takes it and in the plainest way."""

from __future__ import annotations

from tegu.compile.functions import episode, one_by_one, touched_update
from tegu.compile.named_tensors import Function, Named
from tegu.compile.tracing.naming import named
from tegu.learners.learner import Learner, SummedUpdate
from tegu.learners.parameters.table_rows import whole_parameters

__all__ = ["one_after_the_other", "together"]


def together(sums: SummedUpdate) -> Function:
    """A learner's `SummedUpdate.compute`: meta, supports, queries and noise `[users, ...]` -> `update.<name>`."""

    def total(values: Named) -> Named:
        found = sums.compute(*episode(values))
        # A graph's output may not be its input, which ids can be.
        return named("update", {name: value.clone() for name, value in found.items()})

    return total


def one_after_the_other(learner: Learner) -> Function:
    """The same of each user's update."""
    each = one_by_one(lambda values: touched_update(learner, values))

    def total(values: Named) -> Named:
        found = dict(each(values))
        return named("update", {**found, **{name: value.sum(0) for name, value in whole_parameters(found).items()}})

    return total
