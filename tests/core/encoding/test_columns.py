"""What columns become, compared with pandas and plain arithmetic."""

from __future__ import annotations

import datetime
import decimal
import json
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.core.samples import refused

from tegu.core.data.batch import Array
from tegu.core.encoding.encoding import Encoding, encoding_from_dict
from tegu.core.encoding.fit import MOST_LEVELS, fit_column
from tegu.core.encoding.rows import decode_column, encode_column
from tegu.core.errors import DataError

MINUTES = pd.date_range("2024-03-01", periods=960, freq="min")
TOWNS = ["Ulm", "Bonn", "Ulm", "Köln"]


def encoded(raw: Any, role: Any = None) -> Array:
    return encode_column(fit_column("c", raw, role), raw)


@pytest.mark.parametrize(
    "raw",
    [
        [1.5, -2.0, 3.25],
        [31, 40, 17],
        np.asarray([1.5, -2.0, 3.25], np.float32),
        np.asarray([1, 200, 3], np.uint8),
        pd.Series([1.5, -2.0, 3.25]),
        pd.Series([31, 40, 17], dtype="Int64"),
        pd.Series([0.5, 1, 2], dtype="Float64"),
        [decimal.Decimal("0.25"), decimal.Decimal(7)],
        [True, 2, 0.5],
    ],
)
def test_numbers_stay_as_they_are(raw: Any) -> None:
    assert encoded(raw)[:, 0].tolist() == [float(value) for value in raw]
    assert encoded(raw).dtype == np.float32
    assert encoded(raw).shape == (len(raw), 1)


def test_a_large_sample_of_real_numbers_stays_as_it_is() -> None:
    """float32 merges a few of any large sample: that is no reason to change its unit."""
    drawn = np.random.default_rng(0).normal(size=300_000)
    assert len(np.unique(drawn.astype(np.float32))) < len(drawn)
    np.testing.assert_array_equal(encoded(drawn)[:, 0], drawn.astype(np.float32))


@pytest.mark.parametrize(
    "raw",
    [
        pd.Series(MINUTES),
        pd.Series(MINUTES).dt.tz_localize("Europe/Berlin"),
        MINUTES.to_pydatetime(),
        MINUTES.to_numpy(),
        pd.Series(MINUTES).astype("datetime64[ns]"),
        pd.Series(MINUTES).dt.strftime("%Y-%m-%d %H:%M"),
        pd.Series(MINUTES).astype("datetime64[ms]").astype("int64"),
        pd.Series(MINUTES).astype("datetime64[ms]").astype("int64").astype(float),
        pd.Series(MINUTES).astype("datetime64[ns]").astype("int64"),
        pd.Series(MINUTES).astype("datetime64[s]").astype("int64").astype("UInt64"),
    ],
)
def test_960_minutes_stay_960_equally_spaced_values(raw: Any) -> None:
    values = encoded(raw)[:, 0].astype(np.float64)
    assert len(np.unique(values)) == 960
    steps = np.diff(values)
    np.testing.assert_allclose(steps, steps.mean(), rtol=1e-3)
    assert np.abs(values).max() < 1000, "and are of a size that a network can use"


def test_words_that_are_dates_in_part_are_words() -> None:
    for raw in (["2024-03-01", "soon"], ["2024-03", "2024-04"], ["2024-13-01"], ["2024-03-01b"]):
        assert fit_column("c", raw).kind == "category"
    assert fit_column("c", ["2024-03-01", None]).kind == "date"
    assert fit_column("c", ["2024-03-01"], "category").kind == "category"


def test_dates_count_from_an_origin_in_a_unit() -> None:
    days = pd.Series(pd.to_datetime(["2024-01-01", "2024-01-11", "2024-01-31"]))
    column = fit_column("c", days)
    assert column.describe() == "c is a date, in days since 2024-01-16"
    assert encode_column(column, days)[:, 0].tolist() == [-15, -5, 15]
    for same in ("2024-01-18T12:00", datetime.datetime(2024, 1, 18, 12), np.datetime64("2024-01-18T12")):
        assert encode_column(column, [same])[:, 0].tolist() == [2.5], "days since the origin, however they are written"
    zoned = datetime.datetime(2024, 1, 18, 14, tzinfo=datetime.timezone(datetime.timedelta(hours=2)))
    assert encode_column(column, [zoned])[:, 0].tolist() == [2.5], "in UTC"
    assert encode_column(column, [datetime.date(2024, 1, 17)])[:, 0].tolist() == [1]
    assert decode_column(column, np.asarray([2.5])).tolist() == [datetime.datetime(2024, 1, 18, 12)]


def test_integers_beyond_float64_are_subtracted_exactly() -> None:
    """Nanoseconds since 1970 lie beyond 2**53, and hashes beyond 2**63."""
    for begin in (1_709_251_200_000_000_001, 2**64 - 10, -(2**62)):
        raw = [begin + step for step in (0, 1, 2, 3)]
        values = encoded(raw)[:, 0]
        assert (values - values[0]).tolist() == [0, 1, 2, 3]


def test_words_become_one_number_for_each_level() -> None:
    """As pandas's dummies: one column a level, in alphabetical order."""
    for raw in (TOWNS, pd.Series(TOWNS), pd.Series(TOWNS, dtype="category"), pd.Series(TOWNS, dtype="string")):
        np.testing.assert_array_equal(encoded(raw), pd.get_dummies(pd.Series(TOWNS)).to_numpy(np.float32))
    assert fit_column("town", TOWNS).names == ("town=Bonn", "town=Köln", "town=Ulm")
    assert fit_column("town", TOWNS) == fit_column("town", TOWNS[::-1]), "the order of rows has no influence"


def test_numbers_are_categories_where_that_is_said() -> None:
    for raw, role in (([3, 1, 3], "category"), (pd.Series([3, 1, 3], dtype="category"), None)):
        column = fit_column("shop", raw, role)  # type: ignore[arg-type] # a role
        assert column.levels == (1, 3)
        assert encode_column(column, [1, 3.0, "3", np.int8(1)]).tolist() == [[1, 0], [0, 1], [0, 1], [1, 0]]


def test_an_unseen_level_is_all_zeros_or_the_id_0() -> None:
    assert encode_column(fit_column("town", TOWNS), ["Jena", "Ulm"]).tolist() == [[0, 0, 0], [0, 0, 1]]
    ids = fit_column("town", TOWNS, "id")
    assert ids.size == 4
    assert encode_column(ids, ["Jena", "Bonn", "Ulm"]).tolist() == [[0], [1], [3]]


def test_a_gap_is_marked() -> None:
    """A number's gap becomes the median, as pandas computes it; a category's has a column of its own, an id's an id."""
    ages = pd.Series([30, None, 20, 41, None])
    assert encoded(ages).tolist() == [[30, 0], [ages.median(), 1], [20, 0], [41, 0], [ages.median(), 1]]
    np.testing.assert_array_equal(encoded(ages.astype("Int64")), encoded(ages))
    assert fit_column("age", ages).names == ("age", "age is missing")
    towns = pd.Series([*TOWNS, None])
    np.testing.assert_array_equal(encoded(towns), pd.get_dummies(towns, dummy_na=True).to_numpy(np.float32))
    assert encode_column(fit_column("town", towns, "id"), ["Jena", None, "Ulm"]).tolist() == [[0], [4], [3]]
    assert fit_column("town", towns, "id").size == 5
    assert encoded(pd.array([True, None, True], dtype="boolean")).tolist() == [[1, 0], [1, 1], [1, 0]]
    assert encoded(pd.Series(pd.to_datetime(["2024-01-01", None, "2024-01-05"]))).tolist() == [[-2, 0], [0, 1], [2, 0]]


@pytest.mark.parametrize("gap", [None, float("nan"), pd.NA, pd.NaT, np.datetime64("NaT")])
def test_a_gap_that_training_did_not_have_is_refused(gap: Any) -> None:
    for raw in ([1.5, 2.0], TOWNS, [True, False], pd.Series(MINUTES)):
        with refused(DataError, "column c is empty in row 1", "no gaps"):
            encode_column(fit_column("c", raw), [raw[0], gap])


def test_booleans_are_0_and_1() -> None:
    for raw in ([True, False], pd.Series([True, False]), np.asarray([True, False])):
        assert encoded(raw).tolist() == [[1], [0]]
    column = fit_column("c", [True, False])
    assert encode_column(column, ["yes", "FALSE", 1, np.bool_(False)])[:, 0].tolist() == [1, 0, 1, 0]


def test_durations_are_seconds() -> None:
    raw = pd.Series(pd.to_timedelta(["1h", "2s"]))
    assert encoded(raw)[:, 0].tolist() == [3600, 2]
    assert encode_column(fit_column("c", raw), [datetime.timedelta(minutes=1)])[:, 0].tolist() == [60]


def test_intervals_of_pandas_are_levels_by_their_text() -> None:
    ages = pd.cut(pd.Series([10, 30, 50]), [0, 20, 60])
    column = fit_column("age", ages)
    assert column.levels == ("(0, 20]", "(20, 60]")
    assert encode_column(column, ["(20, 60]"]).tolist() == [[0, 1]]


@pytest.mark.parametrize(
    ("raw", "parts"),
    [
        ([[1, 2], [3]], ("column c holds a list", "spread it over columns")),
        (pd.Series([{"a": 1}]), ("column c holds a dict",)),
        ([b"ab"], ("column c holds a bytes",)),
        (np.asarray([b"ab"]), ("dtype |S2",)),
        ([1 + 2j], ("column c holds a complex",)),
        (np.zeros((2, 3)), ("column c has shape (2, 3)", "one value per row")),
        (pd.Series(pd.period_range("2024", periods=2)), ("column c holds a Period",)),
        ([1, "a"], ("mixes number and words", "categories")),
        ([None, None], ("gaps alone", "leave it out")),
        ([float("nan")], ("gaps alone",)),
        (np.asarray([np.nan]), ("gaps alone",)),
        ([1.0, float("inf")], ("column c is infinite in row 1",)),
        ([f"name {i % 30}" for i in range(59)], ("30 different texts in 59 rows", "leave it out", "categories")),
        ([f"name {i}" for i in range(MOST_LEVELS + 1)], ("257 levels", "name it in ids", "nn.Embedding(258, ...)")),
    ],
)
def test_what_fits_nothing_is_refused_by_name(raw: Any, parts: tuple[str, ...]) -> None:
    with refused(DataError, *parts):
        fit_column("c", raw)


def test_texts_that_recur_or_are_named_a_category_are_levels() -> None:
    names = [f"name {i % 30}" for i in range(60)]
    assert len(fit_column("c", names).levels) == 30
    assert len(fit_column("c", names[:59], "category").levels) == 30
    assert len(fit_column("c", pd.Series(names[:59], dtype="category")).levels) == 30
    assert len(fit_column("c", [f"name {i}" for i in range(20)]).levels) == 20


@pytest.mark.parametrize(
    ("raw", "cell", "parts"),
    [
        ([1.0, 2.0], "abc", ("holds 'abc' in row 0", "expected a number")),
        ([1.0, 2.0], "", ("holds '' in row 0",)),
        ([1.0, 2.0], "nan", ("holds 'nan'", "leave the cell empty")),
        ([1.0, 2.0], [1], ("holds [1]", "expected a number")),
        ([1.0, 2.0], datetime.date(2024, 1, 1), ("expected a number",)),
        ([1.0, 2.0], np.datetime64(5, "ns"), ("expected a number",)),
        ([1.0, 2.0], 1e300, ("1e+300", "float32")),
        ([True, False], "maybe", ("expected a boolean", "yes or no")),
        ([True, False], 2, ("expected a boolean",)),
        (pd.Series(MINUTES), 1_709_251_200, ("expected a date", "2024-03-01")),
        (pd.Series(MINUTES), "yesterday", ("'yesterday'", "expected a date")),
    ],
)
def test_a_cell_of_another_kind_is_refused_by_name(raw: Any, cell: Any, parts: tuple[str, ...]) -> None:
    with refused(DataError, "column c holds" if cell != 1e300 else "", *parts):
        encode_column(fit_column("c", raw), [cell])


def test_dates_are_no_numbers_whatever_their_unit() -> None:
    for unit in ("ns", "us", "D"):
        with refused(DataError, "column c holds", "expected a number"):
            encode_column(fit_column("c", [1.0, 2.0]), np.asarray(["2024-01-01"], f"datetime64[{unit}]"))


cells = st.one_of(
    st.lists(st.integers(-(2**63), 2**64 - 1), min_size=1, max_size=20),
    st.lists(st.floats(-1e30, 1e30), min_size=1, max_size=20),
    st.lists(st.text(max_size=3), min_size=1, max_size=20),
    st.lists(st.datetimes(datetime.datetime(1700, 1, 1)), min_size=1, max_size=20),
    st.lists(st.booleans(), min_size=1, max_size=20),
)


@given(cells, st.booleans())
def test_a_column_survives_json_and_lists_equal_arrays(raw: list[Any], gap: bool) -> None:
    raw = [*raw, None] if gap else raw
    column = fit_column("c", raw)
    body = json.loads(json.dumps(Encoding((column,)).to_dict()))
    (again,) = encoding_from_dict(body).columns
    assert again == column
    both = encode_column(column, raw), encode_column(again, np.asarray([*raw, None], object)[: len(raw)])
    assert both[0].shape == (len(raw), len(column.names))
    np.testing.assert_array_equal(*both)
    assert np.isfinite(both[0]).all()
    for row, cell in enumerate(raw):
        np.testing.assert_array_equal(encode_column(column, [cell])[0], both[0][row], "one row at a time is the same")


@given(st.lists(st.integers(-(10**15), 10**15), min_size=1, max_size=20))
def test_whole_numbers_come_back(raw: list[int]) -> None:
    """To within float32's precision of half the range, which holds 24 bits."""
    column = fit_column("c", raw)
    back = decode_column(column, encode_column(column, raw)[:, 0])
    scale = max(map(abs, raw)) if column.origin == 0 else max(raw) - min(raw)
    assert back.dtype == np.int64
    assert np.abs(back - np.asarray(raw)).max() <= scale * 2.0**-24 + 0.5


@pytest.mark.parametrize("cells", [["0,5", "-1,25", "3"], ["1.5", " 2.25 ", None]])
def test_decimal_numbers_as_text_are_no_categories_unless_named(cells: list[Any]) -> None:
    with pytest.raises(DataError, match=r"column c holds numbers as text, such as '.*': convert it to numbers"):
        fit_column("c", np.array(cells, object))
    assert fit_column("c", np.array(cells, object), "category").kind == "category"


def test_a_mark_for_a_gap_among_decimal_numbers_is_named() -> None:
    with pytest.raises(
        DataError, match=r"such as '0\.5', beside '1\.234,5': leave such cells empty and convert the rest"
    ):
        fit_column("c", np.array(["0.5", "1.234,5", "2.25"], object))


@pytest.mark.parametrize("cells", [["01067", "80331"], ["1,5", "unknown"], ["2.0.1", "2.1.0"]])
def test_codes_and_words_stay_categories(cells: list[str]) -> None:
    assert fit_column("c", np.array(cells, object)).kind == "category"
