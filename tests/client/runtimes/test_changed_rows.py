"""A whole table as the rows of it that moved."""

from __future__ import annotations

import numpy as np

from tegu.client.runtimes.changed_rows import find_changed_rows

META = {"table": np.arange(12, dtype=np.float32).reshape(4, 3), "user": np.zeros(3, np.float32)}


def _state(**moved: float) -> dict[str, np.ndarray]:
    table = META["table"].copy()
    for row, change in moved.items():
        table[int(row[1:]), 1] += change
    return {"table": table}


def test_the_rows_that_differ() -> None:
    sources = {"meta": META, "state": _state(r1=2.0, r3=-1.0)}
    ids, rows = find_changed_rows("table/ids", sources), find_changed_rows("table/rows", sources)
    assert ids is not None
    assert rows is not None
    assert ids.dtype == np.int64
    np.testing.assert_array_equal(ids, [1, 3])
    np.testing.assert_array_equal(rows, [[3, 6, 5], [9, 9, 11]])


def test_one_row_where_none_differs() -> None:
    sources = {"meta": META, "state": _state()}
    np.testing.assert_array_equal(find_changed_rows("table/ids", sources), [0])
    np.testing.assert_array_equal(find_changed_rows("table/rows", sources), [[0, 1, 2]])


def test_what_is_no_table_by_rows() -> None:
    sources = {"meta": META, "state": {"table": META["table"]}}
    assert [find_changed_rows(key, sources) for key in ("table", "table/slots", "user/ids", "other/rows")] == [None] * 4
