"""The learner of ratings by item id, in the units of the training users."""

from __future__ import annotations

from tegu.core.data.batch import Array
from tegu.core.errors import DataError
from tegu.learners.algorithms.item_ratings import item_ratings
from tegu.learners.learner import Learner
from tegu.sim.data.population import Population
from tegu.sim.data.scaling import scaling_of_users

__all__ = ["learner_for_ratings"]


def learner_for_ratings(population: Population, seed: int, known: Array | None = None) -> Learner:
    """`item_ratings` with the mean and the deviation of the training users' targets.

    Args:
        population: all users of a regression of one target on one item id. Only training users' rows are read.
        seed: of the split.
        known: see `item_ratings`.

    Raises:
        DataError: the targets are no real numbers, or as `item_ratings`.
    """
    train = population.split(seed).train
    _, scaling = scaling_of_users(train, seed)
    if scaling is None:
        raise DataError(f"the population is for {population.spec.kind}: expected a regression on item ids")
    level, scale = scaling.mean.item(), scaling.std.item()
    return item_ratings(population.spec, level=level, scale=scale, users=len(train), known=known)
