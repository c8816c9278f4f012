"""People's interactions one after the other, whose taste changes on the way."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np

from tegu.core.data.batch import Array

__all__ = ["Moment", "Streams"]


class Moment(NamedTuple):
    """When people are judged.

    Attributes:
        interactions: how many there have been.
        changed: whether it is the new taste that they are judged by.
    """

    interactions: int
    changed: bool


@dataclass(frozen=True)
class Streams:
    """Everyone's interactions in their order, and rows to judge by that are never adapted on.

    Attributes:
        users: `[users]`, their names, ascending.
        x: `[users, times, *spec.x.shape]`.
        y: `[users, times, *spec.y.shape]`, by the old taste up to `change`, and by the new one from there on.
        steady_y: the same, had the taste stayed what it was.
        query_x: `[users, rows, *spec.x.shape]`.
        query_y: `[users, 2, rows, *spec.y.shape]`, by the old taste and by the new one.
        change: how many interactions have the old taste.
    """

    users: Array
    x: Array
    y: Array
    steady_y: Array
    query_x: Array
    query_y: Array
    change: int

    def of(self, users: Array) -> Streams:
        """Those of some users, by name."""
        places = np.searchsorted(self.users, users)
        each = ("users", "x", "y", "steady_y", "query_x", "query_y")
        return replace(self, **{name: getattr(self, name)[places] for name in each})

    def moments(self) -> list[Moment]:
        """After each interaction, by the taste there is; just after the change, by the new one too."""
        before = [Moment(number, changed=False) for number in range(1, self.change + 1)]
        return before + [Moment(number, changed=True) for number in range(self.change, self.x.shape[1] + 1)]
