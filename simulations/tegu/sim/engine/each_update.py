"""Each user's own update, for servers that look at every reply by itself."""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np

from tegu.core.data.batch import Array
from tegu.core.data.tree import Tree, trained_part
from tegu.core.sampling.episode import episode_noise
from tegu.sim.data.cohort import Cohort, gather
from tegu.sim.engine.engine import Engine

__all__ = ["each_update"]

_AT_ONCE = 64  # users whose updates are in memory beside the batch


def each_update(engine: Engine, meta: Tree, cohort: Cohort) -> Iterator[Tree]:
    """The unclipped update of each user of the cohort, in order; trees without fixed parameters.

    Args:
        engine: runs the learner.
        meta: the initialisation.
        cohort: the users.
    """
    if engine.execution.merges_query:
        cohort = cohort.merged(engine.execution.order_invariant)
    trained = trained_part(meta, engine.manifest.fixed_parameters)
    for begin in range(0, len(cohort.users), _AT_ONCE):
        part = cohort.select(slice(begin, begin + _AT_ONCE))
        support, query = gather(part, part.max_rows)
        noise = episode_noise(engine.manifest.noise, part.keys)
        sums = engine.backend.block_sums(meta, support, query, noise, 1, math.inf)
        for user in range(len(part.users)):
            yield {name: _of_user(name, array, sums, user) for name, array in trained.items()}


def _of_user(name: str, like: Array, sums: Tree, user: int) -> Array:
    if name in sums:
        return np.array(sums[name][user])
    table = np.zeros_like(like)  # a table that is updated by rows
    np.add.at(table, sums[f"{name}/ids"][user].reshape(-1), sums[f"{name}/rows"][user].reshape(-1, *like.shape[1:]))
    return table
