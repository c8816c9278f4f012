"""Users' interactions in time order, whose targets change at a known time."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np

from tegu.core.data.batch import Array

__all__ = ["Moment", "Streams"]


class Moment(NamedTuple):
    """A time at which users are evaluated.

    Attributes:
        interactions: number of interactions so far.
        changed: whether users are evaluated on targets from after the change.
    """

    interactions: int
    changed: bool


@dataclass(frozen=True)
class Streams:
    """All users' interactions in time order, and query rows that no method adapts on.

    Attributes:
        users: `[users]`, names in ascending order.
        x: `[users, times, *spec.x.shape]`.
        y: `[users, times, *spec.y.shape]`, with old targets before the time `change` and new ones from then on.
        steady_y: `[users, times, *spec.y.shape]`, the targets without a change.
        query_x: `[users, rows, *spec.x.shape]`.
        query_y: `[users, 2, rows, *spec.y.shape]`, the old and the new targets.
        change: number of interactions before the change.
    """

    users: Array
    x: Array
    y: Array
    steady_y: Array
    query_x: Array
    query_y: Array
    change: int

    def __repr__(self) -> str:
        users, times = self.x.shape[:2]
        return f"Streams(users={users}, times={times}, change={self.change})"

    def of(self, users: Array) -> Streams:
        """The streams of the users with these names."""
        positions = np.searchsorted(self.users, users)
        fields = ("users", "x", "y", "steady_y", "query_x", "query_y")
        return replace(self, **{name: getattr(self, name)[positions] for name in fields})

    def moments(self) -> list[Moment]:
        """A moment after each interaction, on the targets of that time; at the change, another on the new targets."""
        before = [Moment(number, changed=False) for number in range(1, self.change + 1)]
        return before + [Moment(number, changed=True) for number in range(self.change, self.x.shape[1] + 1)]
