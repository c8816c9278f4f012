"""Values encoded as integers keep their equality and order."""

from __future__ import annotations

import datetime
from typing import Any

import numpy as np
import pytest
from tests.core.samples import refused

from tegu.core.data.codes import ordinal_codes
from tegu.core.errors import DataError

DAYS = [datetime.date(2020, 1, day) for day in (3, 1, 2, 1)]


@pytest.mark.parametrize(
    "values", [[3, 1, 2, 1], [0.3, -1, 0.2, -1], ["c", "a", "b", "a"], DAYS, np.asarray(DAYS, "datetime64[s]")]
)
def test_codes_are_in_the_order_of_the_values(values: Any) -> None:
    found = ordinal_codes("order", values, 4)
    assert found.tolist() == [2, 0, 1, 0]
    assert found.dtype == np.int64


@pytest.mark.parametrize(
    ("values", "parts"),
    [
        ([1, 2], ["order has shape (2,)", "expected one entry per row, (3,)"]),
        ([[1], [2], [3]], ["order has shape (3, 1)"]),
        ([1, np.nan, 2], ["order is NaN in some row", "drop the row"]),
        (np.asarray(["2020-01-01", "NaT", "2020-01-01"], "datetime64[D]"), ["order is NaN"]),
        (np.asarray([1, None, "a"], object), ["order holds entries that cannot be sorted", "entries of one type"]),
    ],
)
def test_what_has_no_order_is_refused(values: Any, parts: list[str]) -> None:
    with refused(DataError, *parts):
        ordinal_codes("order", values, 3)
