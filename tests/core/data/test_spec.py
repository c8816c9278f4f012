from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from tests.core.samples import refused, same_array

from tegu.core.data.spec import Field, Spec, check_rows, check_x, check_y
from tegu.core.errors import DataError

IMAGE = Spec.classification((2, 3), 5)
TEXT = Spec.classification((4,), 2, tokens=10)
REAL = Spec.regression((2,))
RATING = Spec.regression((), items=7)
CLICKS = Spec.ranking(7)


@pytest.mark.parametrize(
    ("spec", "x", "y", "outputs", "items"),
    [
        (IMAGE, Field((2, 3), "float32"), Field((), "int64", 5), 5, 0),
        (TEXT, Field((4,), "int64", 10), Field((), "int64", 2), 2, 0),
        (REAL, Field((2,), "float32"), Field((1,), "float32"), 1, 0),
        (Spec.regression((2,), 3), Field((2,), "float32"), Field((3,), "float32"), 3, 0),
        (RATING, Field((), "int64", 7), Field((1,), "float32"), 1, 7),
        (CLICKS, Field((), "int64", 7), Field((), "float32"), 1, 7),
    ],
)
def test_constructors(spec: Spec, x: Field, y: Field, outputs: int, items: int) -> None:
    assert (spec.x, spec.y, spec.outputs, spec.items) == (x, y, outputs, items)


@pytest.mark.parametrize(
    ("arguments", "parts"),
    [
        (("clustering", IMAGE.x, IMAGE.y, 5), ("'clustering'", "classification, multilabel, regression, ranking")),
        (("regression", Field((2,), "float16"), REAL.y, 1), ("'float16'", "float32 or int64")),  # type: ignore[arg-type]
        (("regression", Field((0,), "float32"), REAL.y, 1), ("(0,)", "positive")),
        (("regression", Field((-2,), "float32"), REAL.y, 1), ("(-2,)", "positive")),
        (("regression", Field((), "int64", -3), REAL.y, 1), ("-3", "positive")),
        (("regression", REAL.x, REAL.y, 0), ("0 outputs", "at least one")),
        (("ranking", Field((), "int64", 0), CLICKS.y, 1), ("size=0", "item ids")),
        (("ranking", Field((2,), "int64", 9), CLICKS.y, 1), ("shape=(2,)", "item ids")),
    ],
)
def test_an_impossible_spec_is_refused(arguments: tuple[Any, ...], parts: tuple[str, ...]) -> None:
    with refused(DataError, *parts):
        Spec(*arguments)


def test_the_constructors_refuse_nothing_to_predict() -> None:
    with refused(DataError, "0 outputs"):
        Spec.classification((2,), 0)
    with refused(DataError, "size=0"):
        Spec.ranking(0)


@pytest.mark.parametrize(
    ("spec", "x", "expected"),
    [
        (REAL, [[1, 2]], np.array([[1, 2]], np.float32)),
        (REAL, np.array([[1, 2]], np.float64), np.array([[1, 2]], np.float32)),
        (REAL, np.array([[True, False]]), np.array([[1, 0]], np.float32)),
        (REAL, np.zeros((0, 2)), np.zeros((0, 2), np.float32)),
        (REAL, np.arange(4.0).reshape(2, 2).T, np.array([[0, 2], [1, 3]], np.float32)),
        (CLICKS, [0, 6], np.array([0, 6], np.int64)),
        (CLICKS, np.array([6], np.uint8), np.array([6], np.int64)),
    ],
)
def test_rows_that_fit_are_converted(spec: Spec, x: Any, expected: np.ndarray[Any, Any]) -> None:
    found = check_x(spec, x)
    assert same_array(found, expected)
    assert found.flags.c_contiguous


@pytest.mark.parametrize(
    ("spec", "x", "parts"),
    [
        (REAL, [["a", "b"]], ("<U1", "map words to codes")),
        (REAL, [[None, 1]], ("object", "NoneType", "drop or impute")),
        (REAL, [[1j, 1]], ("complex128", "real and imaginary parts")),
        (REAL, [[1, 2], [3]], ("inhomogeneous", "same shape")),
        (REAL, 1.0, ("()", "(rows, 2)")),
        (REAL, [1.0, 2.0], ("(2,)", "(rows, 2)")),
        (REAL, [[1.0]], ("(1, 1)", "(rows, 2)")),
        (CLICKS, [[1]], ("(1, 1)", "expected (rows)")),
        (REAL, [[0, 0], [0, np.nan]], ("row 1", "drop or impute")),
        (REAL, [[0, 0], [0, 0], [-np.inf, 0]], ("row 2", "drop or impute")),
        (REAL, [[1, -1e39]], ("-1e+39", "rescale")),
        (CLICKS, [1.0], ("float64", "integers")),
        (CLICKS, [3, 7], ("id 7", "from 0 to 6")),
        (CLICKS, [2, -1], ("id -1", "from 0 to 6")),
        (TEXT, [[0, 1, 2, 10]], ("id 10", "from 0 to 9")),
    ],
)
def test_rows_that_do_not_fit_are_refused(spec: Spec, x: Any, parts: tuple[str, ...]) -> None:
    with refused(DataError, *parts):
        check_x(spec, x)


def test_a_single_target_may_leave_out_its_axis() -> None:
    assert same_array(check_y(REAL, [1, 2]), np.array([[1], [2]], np.float32))
    assert same_array(check_y(REAL, [[1], [2]]), np.array([[1], [2]], np.float32))
    assert same_array(check_y(TEXT, [[1], [0]]), np.array([1, 0], np.int64))
    with refused(DataError, "(2,)", "(rows, 3)"):
        check_y(Spec.regression((2,), 3), [1, 2])


@pytest.mark.parametrize(
    ("y", "parts"),
    [([5], ("y holds the id 5", "0 to 4")), ([[1, 2], [3]], ("y is not an array", "same shape"))],
)
def test_targets_that_do_not_fit_are_refused(y: Any, parts: tuple[str, ...]) -> None:
    with refused(DataError, *parts):
        check_y(IMAGE, y)


def test_inputs_and_targets_come_in_equal_numbers() -> None:
    x, y = check_rows(CLICKS, [1, 2], [1, 0.5])
    assert same_array(x, np.array([1, 2]))
    assert same_array(y, np.array([1, 0.5], np.float32))
    with refused(DataError, "x has 2 rows", "y has 1", "equal numbers"):
        check_rows(CLICKS, [1, 2], [1])


def test_several_labels_are_rows_of_0_and_1() -> None:
    spec = Spec.multilabel((2,), 3)
    assert (spec.outputs, spec.y.shape) == (3, (3,))
    assert Spec.from_dict(spec.to_dict()) == spec
    assert same_array(check_y(spec, [[True, False, True]]), np.array([[1, 0, 1]], np.float32))
    for wrong in ([[0, 2, 1]], [[0, 0.5, 1]]):
        with refused(DataError, "y holds", "row 0, column 1", "from 0 to 1"):
            check_y(spec, wrong)


def test_labels_may_be_whole_real_numbers() -> None:
    assert same_array(check_y(TEXT, [0.0, 1.0]), np.array([0, 1]))
    with refused(DataError, "float64", "integers"):
        check_y(TEXT, [0.0, 0.5])
