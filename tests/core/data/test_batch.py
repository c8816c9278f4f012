from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.core.samples import refused, same_array

from tegu.core.data.batch import NumpyBatch, full_batch, stack_batches
from tegu.core.errors import DataError


def user(rows: int, start: int = 1) -> NumpyBatch:
    """Rows without a zero in them, so that padding can be told from data."""
    x = np.arange(start, start + 3 * rows, dtype=np.float32).reshape(rows, 3)
    return full_batch(x, np.arange(start, start + rows))


def test_a_full_batch_has_no_padding() -> None:
    batch = user(4)
    assert same_array(batch.mask, np.ones(4, np.float32))


@given(st.lists(st.integers(0, 9), min_size=1, max_size=5), st.integers(0, 3))
@settings(deadline=None)
def test_stacking_pads_and_masks(sizes: list[int], spare: int) -> None:
    users = [user(size, start=1 + 100 * index) for index, size in enumerate(sizes)]
    rows = max(sizes) + spare
    cohort = stack_batches(users, rows)
    assert cohort.x.shape == (len(sizes), rows, 3)
    assert cohort.x.dtype == np.float32
    assert cohort.y.dtype == np.int64
    assert cohort.mask.dtype == np.float32
    for index, size in enumerate(sizes):
        assert same_array(cohort.mask[index], (np.arange(rows) < size).astype(np.float32))
        assert same_array(cohort.x[index, :size], users[index].x)
        assert same_array(cohort.y[index, :size], users[index].y)
        assert not cohort.x[index, size:].any()
        assert not cohort.y[index, size:].any()


def test_the_longest_user_sets_the_rows() -> None:
    assert stack_batches([user(2), user(5), user(1)]).mask.sum(-1).tolist() == [2, 5, 1]


def test_padding_a_user_brought_along_stays_padding() -> None:
    padded = stack_batches([user(2)], 3)
    again = stack_batches([NumpyBatch(padded.x[0], padded.y[0], padded.mask[0]), user(4)])
    assert again.mask.tolist() == [[1, 1, 0, 0], [1, 1, 1, 1]]


def test_stacking_leaves_the_users_as_they_were() -> None:
    one = user(2)
    stack_batches([one, user(3)]).x[:] = -1
    assert same_array(one.x, user(2).x)


def test_no_users_are_refused() -> None:
    with refused(DataError, "no users", "at least one"):
        stack_batches([])


@pytest.mark.parametrize("rows", [0, 4])
def test_too_long_a_user_is_refused(rows: int) -> None:
    with refused(DataError, "5 rows", f"the requested {rows}", "raise rows"):
        stack_batches([user(1), user(5)], rows)
