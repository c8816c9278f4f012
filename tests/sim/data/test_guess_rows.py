"""The spec of arrays that come without one: plausible guesses are printed, and doubtful ones are refused."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from tests.core.samples import refused

from tegu.core.data.spec import Kind, Spec
from tegu.core.errors import DataError
from tegu.sim.data.guess_rows import guess_rows

RNG = np.random.default_rng(0)
ROWS = 600
REAL = RNG.normal(size=ROWS)
VECTORS = RNG.normal(size=(ROWS, 2))
PICTURES = RNG.integers(0, 256, (ROWS, 3, 4, 4)).astype(np.uint8)
TABLE = np.stack([RNG.integers(18, 90, ROWS), RNG.integers(0, 4, ROWS), RNG.integers(1990, 2025, ROWS)], 1)
TOKENS = RNG.integers(0, 50, (ROWS, 7))
LABELS = np.arange(ROWS) % 3
MARKS = RNG.integers(0, 2, (ROWS, 3))


@pytest.mark.parametrize(
    ("x", "y", "expected", "said"),
    [
        pytest.param(VECTORS, REAL, Spec.regression((2,)), [], id="real numbers"),
        pytest.param(VECTORS, VECTORS, Spec.regression((2,), 2), [], id="several targets"),
        pytest.param(REAL, VECTORS, Spec.regression((), 2), [], id="a number for each row"),
        pytest.param(VECTORS, LABELS, Spec.classification((2,), 3), ["numbers 0 to 2", "kind='regression'"], id="ints"),
        pytest.param(VECTORS, LABELS.astype(np.uint8), Spec.classification((2,), 3), ["labels"], id="uint8 labels"),
        pytest.param(VECTORS, REAL > 0, Spec.classification((2,), 2), [], id="booleans"),
        pytest.param(VECTORS, np.sign(REAL) * 0.5 + 0.5, Spec.classification((2,), 2), ["0.0 and 1.0"], id="0.0, 1.0"),
        pytest.param(VECTORS, (REAL > 2.9).astype(int), Spec.classification((2,), 2), ["0 to 1"], id="a rare label"),
        pytest.param(VECTORS, LABELS + 1.0, Spec.regression((2,)), [], id="stars as real numbers"),
        pytest.param(VECTORS, MARKS, Spec.multilabel((2,), 3), ["any number of labels"], id="several labels"),
        pytest.param(VECTORS, MARKS > 0, Spec.multilabel((2,), 3), ["any number of labels"], id="several booleans"),
        pytest.param(VECTORS, MARKS * 2, Spec.regression((2,), 3), [], id="several whole numbers"),
        pytest.param(PICTURES, REAL, Spec.regression((3, 4, 4)), ["uint8", "numbers", "tokens=256"], id="pictures"),
        pytest.param(PICTURES[:, 0, 0], REAL, Spec.regression((4,)), ["uint8"], id="rows of uint8"),
        pytest.param(PICTURES.astype(int), REAL, Spec.regression((3, 4, 4)), ["int64", "numbers"], id="int pictures"),
        pytest.param(VECTORS > 0, REAL, Spec.regression((2,)), ["bool", "numbers"], id="boolean features"),
        pytest.param(REAL > 0, REAL, Spec.regression(()), ["bool", "numbers"], id="one boolean for each row"),
        pytest.param((VECTORS > 0).astype(int), REAL, Spec.regression((2,)), ["numbers"], id="indicators"),
        pytest.param(TABLE, REAL, Spec.regression((3,)), ["int64", "numbers", "tokens=2025"], id="a table"),
        pytest.param(TABLE - 30, REAL, Spec.regression((3,)), ["numbers"], id="a table with negative numbers"),
        pytest.param(TABLE[:, 2:], REAL, Spec.regression((1,)), ["numbers"], id="a column of years"),
        pytest.param(TOKENS[:, 0], REAL, Spec.regression((), items=50), ["taken as ids"], id="an id for each row"),
        pytest.param(TOKENS[:, 0] + 1, REAL, Spec.regression((), items=51), ["taken as ids"], id="ids from 1"),
        pytest.param(TOKENS[:, 0], LABELS, Spec.classification((), 3, tokens=50), ["ids", "labels"], id="ids, labels"),
        pytest.param(TOKENS[:, 0] - 9, REAL, Spec.regression(()), ["numbers"], id="negative numbers"),
    ],
)
def test_a_plausible_guess_is_printed(
    x: Any, y: Any, expected: Spec, said: list[str], caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO", "tegu")
    assert guess_rows(x, y).spec == expected
    assert all(part in caplog.text for part in said)
    assert bool(caplog.records) == bool(said), caplog.text


@pytest.mark.parametrize(
    ("x", "y", "parts"),
    [
        pytest.param(TOKENS, LABELS, ("0 to 49", "(7,)", "astype", "classification((7,), 3, tokens=50)"), id="tokens"),
        pytest.param(TOKENS[:, :1], REAL, ("(1,)", "regression((1,), 1, tokens=50)"), id="a column of ids"),
        pytest.param(TABLE[:, 2], REAL, ("1990 to 2024", "numbers", "tokens=2025"), id="years"),
        pytest.param(TOKENS[:, 0] * 100, REAL, ("numbers or ids",), id="gaps"),
        pytest.param(VECTORS, np.arange(ROWS) * 7 % 8191, ("do not occur", "kind='regression'", "prices"), id="prices"),
        pytest.param(VECTORS, np.arange(ROWS), ("600 different", "occurs once"), id="counts up"),
        pytest.param(VECTORS, LABELS + 1, ("begin at 1", "stars"), id="stars"),
        pytest.param(VECTORS, LABELS - 1, ("negative", "kind='classification'"), id="-1, 0, 1"),
        pytest.param(VECTORS, LABELS * 2, ("2 between them",), id="a gap"),
        pytest.param(VECTORS, np.eye(3)[LABELS], ("argmax(1)", "kind='multilabel'"), id="one-hot labels"),
        pytest.param(VECTORS, LABELS * 0, ("all are equal",), id="one label"),
        pytest.param(VECTORS, np.minimum(np.arange(ROWS), 3), ("0 occurs once",), id="a label with one row"),
        pytest.param(VECTORS[:9], np.arange(9) // 2 % 4, ("9 rows", "few"), id="few rows"),
        pytest.param(VECTORS, np.sign(REAL), ("-1.0 and 1.0", "kind='classification'"), id="-1.0, 1.0"),
    ],
)
def test_a_doubtful_guess_is_refused(x: Any, y: Any, parts: tuple[str, ...]) -> None:
    with refused(DataError, *parts):
        guess_rows(x, y)


@pytest.mark.parametrize(
    ("x", "y", "kind", "expected"),
    [
        (VECTORS, LABELS + 1, "regression", Spec.regression((2,))),
        (VECTORS, REAL > 0, "regression", Spec.regression((2,))),
        (VECTORS, np.arange(ROWS), "classification", Spec.classification((2,), ROWS)),
        (VECTORS, LABELS * 1.0, "classification", Spec.classification((2,), 3)),
        (TOKENS[:, 0], REAL, "ranking", Spec.ranking(50)),
    ],
)
def test_the_kind_decides(x: Any, y: Any, kind: Kind, expected: Spec) -> None:
    assert guess_rows(x, y, kind).spec == expected


@pytest.mark.parametrize(
    ("x", "y", "kind", "parts"),
    [
        (VECTORS, REAL, "classification", ("expected labels", "whole numbers")),
        (VECTORS, np.eye(3)[LABELS], "classification", ("(600, 3)", "argmax")),
        (VECTORS, REAL, "ranking", ("float64", "one item id")),
        (TOKENS, REAL, "ranking", ("(600, 7)", "for each row")),
        ({"a": TOKENS, "b": TOKENS > 1, "c": VECTORS}, REAL, None, ("'a': ids(50, 7), 'b': booleans(7), 'c': real",)),
    ],
)
def test_what_fits_no_spec_is_refused(x: Any, y: Any, kind: Kind | None, parts: tuple[str, ...]) -> None:
    with refused(DataError, *parts):
        guess_rows(x, y, kind)


@pytest.mark.parametrize(
    ("y", "kind", "labels"),
    [
        (LABELS - 1, "classification", (-1, 0, 1)),
        (LABELS + 1, "classification", (1, 2, 3)),
        (LABELS * 1000.0, "classification", (0, 1000, 2000)),
        (np.array(["no", "yes", "perhaps"])[LABELS], None, ("no", "perhaps", "yes")),
        (np.array([2**63 + 1, 2**64 - 1, 7], np.uint64)[LABELS], "classification", (7, 2**63 + 1, 2**64 - 1)),
    ],
)
def test_labels_become_classes_and_are_kept(y: Any, kind: Kind | None, labels: tuple[Any, ...]) -> None:
    found = guess_rows(VECTORS, y, kind)
    assert found.spec == Spec.classification((2,), 3)
    assert found.encoding.labels == labels
    assert [labels[code] for code in found.y] == y.tolist()


@pytest.mark.parametrize(
    ("x", "kind", "items"),
    [
        (TOKENS[:, 0].astype(str), None, tuple(sorted(map(str, range(50))))),
        (TOKENS[:, 0] * 1000 + 7, "ranking", tuple(range(7, 50_000, 1000))),
        (TOKENS[:, 0].astype(np.uint64) + 2**63, "ranking", tuple(range(2**63, 2**63 + 50))),
    ],
)
def test_item_ids_become_positions_and_are_kept(x: Any, kind: Kind | None, items: tuple[Any, ...]) -> None:
    found = guess_rows(x, REAL, kind)
    assert found.spec == (Spec.ranking(50) if kind else Spec.regression((), items=50))
    assert found.encoding.items == items
    assert [items[position] for position in found.x] == x.tolist()
