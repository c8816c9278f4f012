"""Inputs, labels and items in the application's own words, with the rows that they have to become."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
import pytest
from tests.client.graphs import ITEMS, linear_bundle, ranking_bundle, rating_bundle
from tests.core.samples import refused

from tegu.client import Personalizer
from tegu.client.adaptation.inputs import input_rows, interaction_rows
from tegu.client.adaptation.own_words import given_targets, labels_of, titles_of, values_of
from tegu.core.bundle.file import Bundle
from tegu.core.data.spec import Spec
from tegu.core.encoding.column import Column
from tegu.core.encoding.encoding import Encoding
from tegu.core.encoding.fit import fit_column
from tegu.core.errors import DataError

FRAME = pd.DataFrame({"age": [31.0, 45.5], "channel": ["mail", "web"], "member": [True, False]})
WORDS = Encoding(
    columns=tuple(fit_column(name, FRAME[name]) for name in FRAME), labels=("ignore", "urgent"), label="answer"
)
SPEC = Spec.classification((4,), 2)
ROWS = [[31, 1, 0, 1], [45.5, 0, 1, 0]]


def with_encoding(bundle: Bundle, encoding: Encoding) -> Bundle:
    return replace(bundle, manifest=replace(bundle.manifest, encoding=encoding))


@pytest.mark.parametrize(
    "x",
    [
        FRAME,
        FRAME[["member", "channel", "age"]],
        FRAME.to_dict("list"),
        FRAME.to_dict("records"),
        [{"member": True, "age": 31, "channel": "mail"}, {"channel": "web", "age": "45.5", "member": "no"}],
        FRAME.to_records(index=False),
        FRAME.to_numpy(),
        [[31, "mail", True], [45.5, "web", False]],
        ROWS,
        np.asarray(ROWS),
    ],
)
def test_a_table_in_any_form_and_order(x: Any) -> None:
    assert input_rows(SPEC, x, WORDS).tolist() == ROWS
    inputs, targets = interaction_rows(SPEC, x, ["urgent", "ignore"], WORDS)
    assert (inputs.tolist(), targets.tolist()) == (ROWS, [1, 0])


@pytest.mark.parametrize(
    "x",
    [
        {"channel": "mail", "member": True, "age": 31},
        FRAME.iloc[0],
        [31, "mail", True],
        ROWS[0],
        FRAME[:1],
        [FRAME.iloc[0].to_dict()],
    ],
)
@pytest.mark.parametrize(
    "y", ["urgent", ["urgent"], {"answer": "urgent"}, pd.Series(["urgent"]), {"answer": ["urgent"]}]
)
def test_one_row_needs_no_axis_of_rows(x: Any, y: Any) -> None:
    inputs, targets = interaction_rows(SPEC, x, y, WORDS)
    assert (inputs.tolist(), targets.tolist()) == (ROWS[:1], [1])


@pytest.mark.parametrize(
    ("x", "parts"),
    [
        (FRAME.drop(columns="age"), ("missing ['age']", "expected exactly ['age', 'channel', 'member']")),
        (FRAME.assign(height=1), ("unknown ['height']",)),
        ({"Age": 31, "channel": "mail", "member": True}, ("missing ['age']", "unknown ['Age']")),
        ([{"age": 31, "channel": "mail", "member": True}, {"age": 31}], ("row 1 has ['age']", "None where a value")),
        (
            {"age": [31], "channel": "mail", "member": [True]},
            ("['channel'] hold one value", "['age', 'member'] several"),
        ),
        ({"age": [31, 32], "channel": ["mail"], "member": [True]}, ("'age': 2", "equal numbers")),
        ([[31, "mail"]], ("shape (1, 2)", "3 raw values (age, channel, member)", "4 encoded ones")),
        (np.zeros((2, 7)), ("shape (2, 7)",)),
        ("mail", ("shape ()",)),
        ({"age": None, "channel": "mail", "member": True}, ("column age is empty in row 0",)),
    ],
)
def test_other_names_are_refused_and_listed(x: Any, parts: tuple[str, ...]) -> None:
    with refused(DataError, *parts):
        input_rows(SPEC, x, WORDS)


def test_a_shifted_column_is_read_as_raw_without_names() -> None:
    """An array has the raw values by position: as many as there are columns."""
    made = [1_709_251_200_000 + 60_000 * minute for minute in range(960)]
    encoding = Encoding(columns=(fit_column("age", [1.0, 2.0]), fit_column("made", made)))
    spec = Spec.regression((2,))
    expected = input_rows(spec, {"age": [1.5], "made": [made[7]]}, encoding)
    np.testing.assert_array_equal(input_rows(spec, np.asarray([[1.5, made[7]]]), encoding), expected)
    middle = (made[0] + made[-1]) // 2
    np.testing.assert_allclose(expected, [[1.5, (made[7] - middle) / 1e7]], rtol=1e-6)


def test_labels_come_back() -> None:
    outputs = np.asarray([[0.5, 0.25], [-1.0, 3.0]])
    assert labels_of(SPEC, WORDS, outputs).tolist() == ["ignore", "urgent"]
    assert labels_of(SPEC, None, outputs).tolist() == [0, 1]
    assert labels_of(SPEC, Encoding(labels=(-1, 1)), outputs).tolist() == [-1, 1]
    with refused(DataError, "a regression predicts no labels"):
        labels_of(Spec.regression((4,)), None, outputs)


def test_values_come_back_in_their_own_units() -> None:
    days = pd.Series(pd.to_datetime(["2024-01-01", "2024-01-31"]))
    encoding = Encoding(targets=(fit_column("due", days), fit_column("stars", [1, 5]), fit_column("price", [0.5, 2])))
    spec = Spec.regression((1,), 3)
    values = values_of(spec, encoding, np.asarray([[1.5, 3.7, 3.7]], np.float32))
    assert values["due"].tolist() == [pd.Timestamp("2024-01-17T12:00")]
    assert values["stars"].tolist() == [4], "whole numbers as in training"
    assert values["price"].tolist() == [pytest.approx(3.7)]
    expected = [[15, 5, 0.5]]
    for y in ({"price": 0.5, "stars": 5, "due": "2024-01-31"}, [days[1], 5, 0.5], [["2024-01-31", 5, 0.5]]):
        _, targets = interaction_rows(spec, [[1.0]], y, encoding)
        assert targets.tolist() == expected
    due = Encoding(targets=encoding.targets[:1])
    for unit in ("ns", "us", "s"):
        column = days.astype(f"datetime64[{unit}]")
        for y in (
            column,
            column.to_numpy(),
            column.tolist(),
            pd.DataFrame({"due": column}),
            column.dt.tz_localize("UTC"),
        ):
            _, targets = interaction_rows(Spec.regression((1,)), [[1.0], [2.0]], y, due)
            assert targets.tolist() == [[-15], [15]]
    assert list(values_of(Spec.regression((1,)), None, np.zeros((2, 1)))) == ["y"]
    with refused(DataError, "shape (2,)", "3 values (due, stars, price)"):
        given_targets(encoding, [1, 2])
    with refused(DataError, "missing ['due']"):
        given_targets(encoding, {"price": 0.5, "stars": 5})


def test_one_target_needs_no_axis() -> None:
    encoding = Encoding(targets=(Column("price", "number", origin=100, unit=10),))
    spec = Spec.regression((1,))
    for y in ([110, 90], [[110], [90]], np.asarray([110, 90]), {"price": [110, 90]}, pd.Series([110, 90])):
        assert interaction_rows(spec, [[1.0], [2.0]], y, encoding)[1].tolist() == [[1], [-1]]
    for y in (110, [110], {"price": 110}):
        assert interaction_rows(spec, [1.0], y, encoding)[1].tolist() == [[1]]


FILMS = Encoding(
    items=tuple(10 * i for i in range(ITEMS)), titles=tuple(f"Film {i}" for i in range(ITEMS)), item="film"
)


def test_items_by_id_and_title() -> None:
    with (
        Personalizer.open(with_encoding(ranking_bundle(), FILMS)) as person,
        Personalizer.open(ranking_bundle()) as bare,
    ):
        person.observe(["Film 3", 70])
        person.observe("Film 5")
        person.observe({"film": 10})
        bare.observe([3, 7, 5, 1])
        assert person.adapt().kept
        assert bare.adapt().kept
        items, scores = person.recommend(4)
        positions, same = bare.recommend(4)
        assert items.tolist() == [10 * position for position in positions]
        np.testing.assert_array_equal(scores, same)
        assert person.titles(items) == [f"Film {position}" for position in positions]
        assert not set(items.tolist()) & {30, 70, 50, 10}, "what was seen is left out"
        np.testing.assert_array_equal(person.predict(["Film 2", 30]), bare.predict([2, 3]))
        with refused(DataError, "3 is no known item"):
            person.observe([3])
        with refused(DataError, "'Film 33' is no known item", "did you mean Film 3"):
            person.predict("Film 33")


def test_titles_of_positions() -> None:
    bare = Encoding(titles=("Alien", "Heat"))
    assert titles_of(bare, [1, 0]) == ["Heat", "Alien"]
    assert titles_of(bare, 1) == ["Heat"]
    assert titles_of(Encoding(items=("a", "b")), ["b"]) == ["b"]
    assert titles_of(None, [7]) == ["7"]


def test_ratings_of_named_items() -> None:
    encoding = replace(FILMS, targets=(fit_column("stars", [1, 5]),))
    with Personalizer.open(with_encoding(rating_bundle(), encoding)) as person:
        person.observe(["Film 3"], [5])
        person.observe({"film": ["Film 4", 50]}, {"stars": [1, 2]})
        person.observe("Film 6", 4)
        values = person.predict_values(["Film 3", 40])
        assert values["stars"].tolist() == np.rint(person.predict([30, 40])[:, 0]).astype(int).tolist()


def test_named_numbers() -> None:
    encoding = Encoding(columns=tuple(Column(name, "number") for name in ("a", "b", "c")))
    with (
        Personalizer.open(with_encoding(linear_bundle(), encoding)) as person,
        Personalizer.open(linear_bundle()) as bare,
    ):
        person.observe({"c": 3.0, "a": 1.0, "b": 2.0}, 0.5)
        bare.observe([1.0, 2.0, 3.0], [0.5])
        person.adapt()
        bare.adapt()
        table = pd.DataFrame({"b": [5.0], "c": [6.0], "a": [4.0]})
        np.testing.assert_array_equal(person.predict(table), bare.predict([[4.0, 5.0, 6.0]]))
        assert person.predict_values(table)["y"].tolist() == bare.predict([[4.0, 5.0, 6.0]])[:, 0].tolist()


def test_a_frame_for_a_bundle_without_names_is_noted(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO", "tegu")
    rows = input_rows(Spec.regression((2,)), pd.DataFrame({"b": [1.0], "a": [2.0]}))
    assert rows.tolist() == [[1, 2]]
    assert "x has names, b, a, and the bundle has none: taken by position." in caplog.text
    caplog.clear()
    input_rows(Spec.regression((2,)), np.zeros((1, 2)))
    assert not caplog.records


def test_representations_are_short() -> None:
    many = Encoding(items=tuple(range(50_000)), titles=tuple(map(str, range(50_000))))
    assert len(repr(many)) < 200
    column = Column("town", "id", tuple(f"town {i}" for i in range(50_000)))
    assert len(repr(column)) < 200
    assert "50000 items" not in repr(WORDS)
    assert repr(WORDS) == "Encoding(features=(age, channel, member), labels=(ignore, urgent))"
