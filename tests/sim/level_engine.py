"""A minimal engine whose predictions are one level for all rows, and users with known levels."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from tegu.core.bundle.manifest import Knobs, Manifest
from tegu.core.data.batch import Array, NumpyBatch
from tegu.core.data.spec import Spec
from tegu.core.data.tree import Tree
from tegu.sim.data.cohort import Cohort
from tegu.sim.data.population import Population

META: Tree = {"level": np.zeros((), np.float32)}
RATES = (0.25, 0.5, 0.75, 1.0, 1.5, 2.0, 4.0)
KNOBS = {"steps": 2.0, "lr": 1.0}
LEVELS = Manifest(
    "levels",
    "",
    Spec.regression((1,)),
    ("level",),
    KNOBS,
    {**KNOBS, "steps": 0.0},
    candidates=tuple({**KNOBS, "lr": rate} for rate in RATES),
)


class LevelEngine:
    """Predicts `meta + lr * steps * slope` for every row.

    Args:
        manifest: its candidates differ in the rate alone.
        slope: factor of the step.
        bad_above: predictions of larger steps are NaN.
        users: indices of the users that adapt; None means all.
    """

    encoder = None  # encodes no rows

    def __init__(
        self,
        manifest: Manifest = LEVELS,
        slope: float = 1.0,
        bad_above: float = math.inf,
        users: Sequence[int] | None = None,
    ) -> None:
        self.manifest = manifest
        self.slope, self.bad_above, self.users = slope, bad_above, users

    def sum_updates(self, meta: Tree, cohort: Cohort, limit: float) -> Tree:
        raise NotImplementedError

    def adapt(self, meta: Tree, supports: NumpyBatch, knobs: Knobs, noise: Array | None = None) -> Tree:
        step = knobs["steps"] * knobs["lr"]
        value = np.float32(math.nan if step > self.bad_above else meta["level"] + step * self.slope)
        states = np.full(len(supports.mask), value, np.float32)
        if self.users is not None:
            initial = np.full_like(states, meta["level"])
            states = np.where(np.isin(np.arange(len(states)), self.users), states, initial)
        return {"level": states}

    def predict(self, meta: Tree, states: Tree, x: Array, rows: Sequence[int] | None = None) -> Array:
        return np.broadcast_to(states["level"][:, None, None], (*x.shape[:2], 1))


def users_at_level(level: float, users: int = 6, rows: int = 8) -> Population:
    """Users whose targets all equal `level`."""
    x = np.arange(users * rows, dtype=np.float32)[:, None]  # all different, since equal rows must stay together
    return Population.from_arrays(x, np.full(len(x), level, np.float32), np.repeat(np.arange(users), rows))
