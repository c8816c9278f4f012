"""Populations whose users' rows belong together now and then."""

from __future__ import annotations

import numpy as np
from hypothesis import strategies as st
from tests.core.people import Rows, user_rows

from tegu.core.data.batch import Array
from tegu.sim.data.population import Population


def population_of(people: list[Rows]) -> Population:
    """One user each, named by place, with rows whose targets are their places among the user's."""
    x, group, order = (None if rows[0] is None else np.concatenate(rows) for rows in zip(*people, strict=True))  # type: ignore[arg-type]
    assert x is not None
    y = np.concatenate([each.y for each in people]).astype(np.float32)
    user = np.repeat(np.arange(len(people)), [len(each.x) for each in people])
    return Population.from_arrays(x, y, user, group=group, order=order)


@st.composite
def users_with_row_units(draw: st.DrawFn) -> list[Rows]:
    """Ids or pictures, with groups and an order or without; for all users the same."""
    group, order, pictures = (draw(st.booleans()) for _ in range(3))
    return draw(st.lists(user_rows(group, order, pictures), min_size=1, max_size=6))


def places(y: Array) -> list[int]:
    """The rows that a batch of one user holds."""
    return [int(place) for place in y.reshape(-1)]
