from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest
from tests.core.samples import refused, same_array

from tegu.core.data.field import Field
from tegu.core.data.spec import Spec, check_x
from tegu.core.errors import DataError

MIXED = Spec.regression((3,), ids={2: 2, 1: 1 << 24})


def test_ids_lie_at_their_positions_of_a_row_of_numbers() -> None:
    assert MIXED.x == Field((3,), "float32", 0, ((1, 1 << 24), (2, 2)))
    assert Spec.classification((2,), 3, ids={0: 7}).x.ids == ((0, 7),)
    highest = (1 << 24) - 1
    found = check_x(MIXED, np.array([[0.5, highest, 1], [-2, highest - 1, 0]]))
    assert same_array(found, np.array([[0.5, highest, 1], [-2, highest - 1, 0]], np.float32))
    assert found[:, 1].astype(np.int64).tolist() == [highest, highest - 1]


def test_a_mixed_spec_survives_the_manifest() -> None:
    assert Spec.from_dict(json.loads(json.dumps(MIXED.to_dict()))) == MIXED


def test_a_plain_spec_is_written_as_before() -> None:
    assert Spec.regression((3,)).to_dict() == {
        "kind": "regression",
        "x": {"shape": (3,), "dtype": "float32", "size": 0},
        "y": {"shape": (1,), "dtype": "float32", "size": 0},
        "outputs": 1,
    }


@pytest.mark.parametrize(
    ("row", "parts"),
    [
        ([0.0, 1.0, 2.0], ("2.0", "row 1", "column 2", "from 0 to 1")),
        ([0.0, 1.5, 1.0], ("1.5", "row 1", "column 1", "whole number")),
        ([0.0, -1.0, 1.0], ("-1.0", "row 1", "column 1")),
        ([0.0, np.nan, 1.0], ("NaN", "row 1")),
        ([0.0, 1 << 24, 1.0], ("16777216.0", "row 1", "column 1")),
    ],
)
def test_values_that_are_no_ids_are_refused(row: list[float], parts: tuple[str, ...]) -> None:
    with refused(DataError, *parts):
        check_x(MIXED, np.array([[0.0, 0.0, 0.0], row]))


@pytest.mark.parametrize(
    ("shape", "ids", "parts"),
    [
        ((3,), {3: 2}, ("[3]", "from 0 to 2")),
        ((3,), {-1: 2}, ("[-1]", "from 0 to 2")),
        ((3,), {0: 0}, ("size 0", "1 to 16777216")),
        ((3,), {0: (1 << 24) + 1}, ("16777217", "map larger ids")),
        ((3, 2), {0: 2}, ("(3, 2)", "one axis")),
    ],
)
def test_impossible_ids_are_refused(shape: tuple[int, ...], ids: dict[int, int], parts: tuple[str, ...]) -> None:
    with refused(DataError, *parts):
        Spec.regression(shape, ids=ids)


def test_ids_beside_ids_are_refused() -> None:
    with refused(DataError, "tokens, items or ids", "one of them"):
        Spec.classification((3,), 2, tokens=5, ids={0: 2})


@pytest.mark.parametrize("ids", [[[0]], [[0, 1.5]], 7])
def test_damaged_ids_describe_no_spec(ids: Any) -> None:
    body = MIXED.to_dict()
    with refused(DataError, "describes no spec"):
        Spec.from_dict(body | {"x": body["x"] | {"ids": ids}})
