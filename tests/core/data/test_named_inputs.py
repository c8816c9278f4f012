from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest
from tests.core.samples import refused, same_array

from tegu.core import Spec, booleans, ids, reals
from tegu.core.data.field import Field
from tegu.core.data.named_inputs import slices
from tegu.core.data.spec import check_x, packed
from tegu.core.errors import DataError

SPEC = Spec.classification({"tokens": ids(50, 3), "mask": booleans(3), "picture": reals(2, 2), "age": reals()}, 2)
ROWS = {
    "tokens": np.array([[1, 2, 49], [0, 0, 0]]),
    "mask": np.array([[True, True, False], [False, True, False]]),
    "picture": np.arange(8.0).reshape(2, 2, 2),
    "age": np.array([31, 40]),
}
PACKED = np.array([[1, 2, 49, 1, 1, 0, 0, 1, 2, 3, 31], [0, 0, 0, 0, 1, 0, 4, 5, 6, 7, 40]], np.float32)


def test_named_inputs_are_packed_into_one_row() -> None:
    assert SPEC.x == Field((11,), "float32", 0, ((0, 50), (1, 50), (2, 50), (3, 2), (4, 2), (5, 2)))
    assert same_array(check_x(SPEC, ROWS), PACKED)
    assert same_array(check_x(SPEC, tuple(ROWS.values())), PACKED)
    assert same_array(check_x(SPEC, dict(reversed(ROWS.items()))), PACKED)
    assert same_array(check_x(SPEC, PACKED), PACKED)


def test_a_single_row_may_leave_out_its_axis() -> None:
    assert same_array(packed(SPEC, {name: array[1] for name, array in ROWS.items()}), PACKED[1])


def test_where_each_input_lies() -> None:
    expected = {"tokens": slice(0, 3), "mask": slice(3, 6), "picture": slice(6, 10), "age": slice(10, 11)}
    assert slices(SPEC.inputs) == expected


def test_named_inputs_survive_the_manifest() -> None:
    assert Spec.from_dict(json.loads(json.dumps(SPEC.to_dict()))) == SPEC


def test_many_ids_are_neither_written_nor_shown_one_by_one() -> None:
    spec = Spec.classification({"tokens": ids(5000, 512), "mask": booleans(512)}, 2)
    assert Spec.from_dict(json.loads(json.dumps(spec.to_dict()))) == spec
    assert len(json.dumps(spec.to_dict())) < 400
    assert len(repr(spec)) < 500
    assert "1024 of them" in repr(spec)


@pytest.mark.parametrize(
    ("change", "parts"),
    [
        ({"tokens": [[1, 2, 50], [0, 0, 0]]}, ("tokens holds the id 50", "0 to 49")),
        ({"mask": [[1, 2, 0], [0, 0, 0]]}, ("mask holds the id 2", "0 to 1")),
        ({"mask": [[1.0, 0.0, 0.0], [0, 0, 0]]}, ("mask has dtype float64",)),
        ({"picture": np.zeros((2, 4))}, ("picture has shape (2, 4)", "(rows, 2, 2)")),
        ({"age": [1, 2, 3]}, ("'age': 3", "equal numbers")),
        ({"weight": [1, 2]}, ("weight", "expected tokens, mask, picture, age")),
    ],
)
def test_inputs_that_do_not_fit_are_refused(change: dict[str, Any], parts: tuple[str, ...]) -> None:
    with refused(DataError, *parts):
        check_x(SPEC, ROWS | change)


def test_another_number_of_inputs_is_refused() -> None:
    with refused(DataError, "2 inputs", "expected 4", "tokens, mask, picture, age"):
        check_x(SPEC, (ROWS["tokens"], ROWS["mask"]))


def test_names_need_a_spec_with_names() -> None:
    with refused(DataError, "age", "one input"):
        check_x(Spec.regression((2,)), {"age": [1]})


@pytest.mark.parametrize(
    ("inputs", "parts"),
    [
        ({}, ("[]", "at least one")),
        ({"a": Field((2,), "int64")}, ("input a", "without a size")),
        ({"a": Field((0,), "float32")}, ("input a", "(0,)")),
        ({"a": ids((1 << 24) + 1)}, ("16777217",)),
    ],
)
def test_impossible_inputs_are_refused(inputs: dict[str, Field], parts: tuple[str, ...]) -> None:
    with refused(DataError, *parts):
        Spec.regression(inputs)


def test_booleans_are_named_inputs_only() -> None:
    with refused(DataError, "x has dtype bool", "named inputs"):
        Spec("regression", Field((2,), "bool"), Field((1,), "float32"), 1)


def test_the_packed_row_fits_the_names() -> None:
    with refused(DataError, "packed inputs"):
        Spec("regression", reals(3), Field((1,), "float32"), 1, (("a", reals(2)),))
