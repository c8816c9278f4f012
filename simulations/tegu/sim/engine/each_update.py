"""Each user's own update: for servers that look at every reply by itself, and for nodes that count what was clipped."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from tegu.core.data.batch import Array
from tegu.core.data.tree import Tree, add, norm, scale, trained_part, zeros_like
from tegu.core.sampling.episode import episode_noise
from tegu.sim.data.cohort import Cohort, gather
from tegu.sim.engine.engine import Engine
from tegu.sim.engine.sum_blocks import BlockSum

__all__ = ["ClippedSum", "clipped_sum", "each_update"]

_AT_ONCE = 64  # users whose updates are in memory beside the batch


class ClippedSum(NamedTuple):
    """The sum of users' clipped updates.

    Attributes:
        update: the sum, a tree without fixed parameters.
        within: number of users whose update needed no clipping.
    """

    update: Tree
    within: int


def each_update(engine: Engine, meta: Tree, cohort: Cohort) -> Iterator[Tree]:
    """The unclipped update of each user of the cohort, in order; trees without fixed parameters.

    Args:
        engine: runs the learner.
        meta: the initialisation.
        cohort: the users.
    """
    cohort = _as_the_learner_takes(engine, cohort)
    for begin in range(0, len(cohort.users), _AT_ONCE):
        yield from _updates(engine, meta, cohort.select(slice(begin, begin + _AT_ONCE)))


def clipped_sum(engine: Engine, meta: Tree, cohort: Cohort, limit: float, *, private: bool = False) -> ClippedSum:
    """As `Engine.sum_updates`, and how many updates needed no clipping. It runs on every core.

    Args:
        engine: runs the learner.
        meta: the initialisation.
        cohort: at least one user.
        limit: largest norm of one user's update.
        private: whether a user whose update is not finite has zeros in its place.
    """
    cohort = _as_the_learner_takes(engine, cohort)
    by_size = np.argsort(-(cohort.support + cohort.query), kind="stable")  # users of a part are padded alike
    fitting = int(engine.memory / engine.workers / max(engine.user_bytes(sum(cohort.max_rows)), 1.0))
    most = max(1, min(_AT_ONCE, fitting, -(-len(by_size) // engine.workers)))
    parts = np.array_split(by_size, -(-len(by_size) // most))

    def sum_part(positions: Array) -> ClippedSum:
        total, within = None, 0
        for found in _updates(engine, meta, cohort.select(positions)):
            length = norm(found)
            if private and not math.isfinite(length):
                found, length = zeros_like(found), 0.0  # noqa: PLW2901 # as a device does
            sent = scale(found, limit / length) if length > limit else found
            total, within = sent if total is None else add(total, sent), within + (length <= limit)
        return ClippedSum(total or {}, within)

    total, within = BlockSum(trained_part(meta, engine.manifest.fixed_parameters)), 0
    for part in engine.as_computed(sum_part, parts):
        total.add({name: value[None] for name, value in part.update.items()})
        within += part.within
    return ClippedSum(total.total, within)


def _as_the_learner_takes(engine: Engine, cohort: Cohort) -> Cohort:
    return cohort.merged(engine.execution.order_invariant) if engine.execution.merges_query else cohort


def _updates(engine: Engine, meta: Tree, part: Cohort) -> Iterator[Tree]:
    support, query = gather(part, part.max_rows)
    noise = episode_noise(engine.manifest.noise, part.keys)
    sums = engine.backend.block_sums(meta, support, query, noise, 1, math.inf)
    trained = trained_part(meta, engine.manifest.fixed_parameters)
    for user in range(len(part.users)):
        yield {name: _of_user(name, array, sums, user) for name, array in trained.items()}


def _of_user(name: str, like: Array, sums: Tree, user: int) -> Array:
    if name in sums:
        return np.array(sums[name][user])
    table = np.zeros_like(like)  # a table that is updated by rows
    np.add.at(table, sums[f"{name}/ids"][user].reshape(-1), sums[f"{name}/rows"][user].reshape(-1, *like.shape[1:]))
    return table
