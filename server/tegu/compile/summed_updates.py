"""The sum of many users' unclipped updates: by the learner's own shortcut, and user by user as its reference."""

from __future__ import annotations

from tegu.compile.functions import one_by_one, touched_update, update_arguments
from tegu.compile.named_tensors import Function, Named
from tegu.compile.tracing.naming import with_prefix
from tegu.learners.learner import Learner, SummedUpdate
from tegu.learners.parameters.table_rows import whole_parameters

__all__ = ["sum_at_once", "sum_one_by_one"]


def sum_at_once(summed: SummedUpdate) -> Function:
    """A learner's `SummedUpdate.compute` as a function of named tensors.

    It takes `meta.<name>`, and `support`, `query` and `noise` with a leading axis of users. It gives `update.<name>`.
    """

    def total(values: Named) -> Named:
        found = summed.compute(*update_arguments(values))
        # A graph's output must not be one of its inputs, and row ids can be.
        return with_prefix("update", {name: value.clone() for name, value in found.items()})

    return total


def sum_one_by_one(learner: Learner) -> Function:
    """The reference for `sum_at_once`: compute each user's update, then add them up."""
    each = one_by_one(lambda values: touched_update(learner, values))

    def total(values: Named) -> Named:
        found = dict(each(values))
        return with_prefix(
            "update", {**found, **{name: value.sum(0) for name, value in whole_parameters(found).items()}}
        )

    return total
