"""Populations with row units: rows of a user that must stay together."""

from __future__ import annotations

import numpy as np
from hypothesis import strategies as st
from tests.core.people import Rows, user_rows

from tegu.core.data.batch import Array
from tegu.core.data.spec import Spec
from tegu.sim.data.population import Population


def population_of(users: list[Rows]) -> Population:
    """A population in which user i has the rows `users[i]`; a row's target is its position among its user's rows."""
    x, group, order = (None if rows[0] is None else np.concatenate(rows) for rows in zip(*users, strict=True))  # type: ignore[arg-type]
    assert x is not None
    y = np.concatenate([each.y for each in users]).astype(np.float32)
    user = np.repeat(np.arange(len(users)), [len(each.x) for each in users])
    spec = (
        Spec.regression(x.shape[1:]) if x.dtype.kind == "f" else Spec.regression(x.shape[1:], tokens=int(x.max()) + 1)
    )
    return Population.from_arrays(x, y, user, spec, group=group, order=order)


@st.composite
def users_with_row_units(draw: st.DrawFn) -> list[Rows]:
    """Rows of up to six users: ids or pictures, with or without groups and a time order, the same for all users."""
    group, order, pictures = (draw(st.booleans()) for _ in range(3))
    return draw(st.lists(user_rows(group, order, pictures), min_size=1, max_size=6))


def row_positions(y: Array) -> list[int]:
    """The positions of a user's rows, from their targets."""
    return [int(position) for position in y.reshape(-1)]
