"""Users whose rows recur, have groups and an order, each now and then."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from hypothesis import strategies as st

from tegu.core.data.batch import Array
from tegu.core.sampling.leakage import RowUnits, row_units_of


class Rows(NamedTuple):
    """Of one user; the targets are the rows' places, so that rows can be told apart."""

    x: Array
    group: Array | None
    order: Array | None

    @property
    def ties(self) -> RowUnits:
        return row_units_of(*self)

    @property
    def y(self) -> Array:
        return np.arange(len(self.x))


@st.composite
def user_rows(
    draw: st.DrawFn,
    group: bool | None = None,
    order: bool | None = None,
    pictures: bool | None = None,
    least: int = 1,
) -> Rows:
    """Rows of a few kinds; None leaves it to chance whether they are pictures or ids, have groups, have an order."""
    count = draw(st.integers(least, 14))

    def entries(most: int) -> Array:
        return np.asarray(draw(st.lists(st.integers(0, most), min_size=count, max_size=count)))

    ids = entries(draw(st.sampled_from([2, 8, 40])))
    drawn, grouped, timed = (draw(st.booleans()) if wanted is None else wanted for wanted in (pictures, group, order))
    x = (ids[:, None, None] >> np.arange(6).reshape(2, 3) & 1).astype(np.float32) if drawn else ids
    return Rows(x, entries(count) if grouped else None, entries(draw(st.sampled_from([3, 50]))) if timed else None)


def leaks(rows: Rows, support: list[int], query: list[int]) -> list[str]:
    """What two sets of a user's rows share that they must not."""
    found = ["row"] if set(support) & set(query) else []
    if {rows.x[row].tobytes() for row in support} & {rows.x[row].tobytes() for row in query}:
        found.append("x")
    if rows.group is not None and set(rows.group[support].tolist()) & set(rows.group[query].tolist()):
        found.append("group")
    if rows.order is not None and rows.order[support].max() >= rows.order[query].min():
        found.append("order")
    return found
