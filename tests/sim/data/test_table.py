"""Populations from data frames: what becomes of every column, compared with pandas."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from tests.core.samples import refused

from tegu.core.data.field import Field
from tegu.core.data.spec import Spec
from tegu.core.errors import DataError, MissingExtraError, PopulationError
from tegu.sim.data.population import Population
from tegu.sim.data.population_on_disk import read_population, write_population

FRAME = pd.DataFrame(
    {
        "who": ["b", "a", "b", "a"],
        "age": [30.0, None, 50.0, 20.0],
        "channel": ["mail", "web", "mail", None],
        "member": [True, False, True, True],
        "since": pd.to_datetime(["2024-01-01", "2024-01-11", "2024-01-31", "2024-01-02"]),
        "film": [300, 7, 300, 12],
        "title": ["Brazil", "Alien", "Brazil", "Heat"],
        "stars": [5, 1, 4, 5],
        "answer": ["yes", "no", "no", "yes"],
        "price": [1.5, 2.0, 3.25, 4.0],
    }
)
BY_USER = [1, 3, 0, 2]  # the rows of a, then of b


def test_every_kind_of_column(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO", "tegu")
    features = ["age", "channel", "member", "since"]
    population = Population.from_frame(FRAME, user="who", features=features, target="answer")
    assert population.spec == Spec.classification((7,), 2)
    assert population.encoding is not None
    assert population.encoding.names == (
        "age", "age is missing", "channel=mail", "channel=web", "channel is missing", "member", "since",
    )  # fmt: skip
    expected = pd.DataFrame(
        {"age": FRAME.age.fillna(FRAME.age.median()), "no age": FRAME.age.isna()}
        | pd.get_dummies(FRAME.channel, dummy_na=True).to_dict("series")
        | {"member": FRAME.member, "since": (FRAME.since - pd.Timestamp("2024-01-16")).dt.days}
    ).to_numpy(np.float32)
    np.testing.assert_array_equal(population.x, expected[BY_USER])
    assert population.encoding.labels == ("no", "yes")
    assert population.y.tolist() == [0, 1, 1, 0]
    said = [record.getMessage() for record in caplog.records]
    assert len(said) == 5, "a sentence for each column"
    assert said[0] == "member: taken as numbers, unchanged."
    assert "age is a number; a gap becomes 30, the training data's median" in said[1]
    assert "channel is a category with 2 levels (mail, web)" in said[2]
    assert "since is a date, in days since 2024-01-16" in said[3]
    assert "answer: taken as 2 labels (no, yes)" in said[4]


def test_categories_and_ids_that_are_numbers() -> None:
    population = Population.from_frame(
        FRAME, user="who", features=["price", "film", "stars"], target="answer", categories=["stars"], ids=["film"]
    )
    dummies = pd.get_dummies(FRAME.stars).to_numpy()
    expected = np.column_stack([FRAME.price, FRAME.film.map({7: 1, 12: 2, 300: 3}), dummies])
    assert population.x.tolist() == expected[BY_USER].tolist()
    assert population.spec.x == Field((5,), "float32", 0, ((1, 4),))
    with refused(DataError, "categories or ids name ['who']"):
        Population.from_frame(FRAME, user="who", features=["price"], target="answer", ids=["who"])


@pytest.mark.parametrize(
    ("target", "kind", "spec", "y", "labels"),
    [
        ("stars", "classification", Spec.classification((1,), 3), [0, 2, 2, 1], (1, 4, 5)),
        ("stars", "regression", Spec.regression((1,)), [[1], [5], [5], [4]], ()),
        ("member", None, Spec.classification((1,), 2), [0, 1, 1, 1], (False, True)),
        ("price", None, Spec.regression((1,)), [[2], [4], [1.5], [3.25]], ()),
        ("since", None, Spec.regression((1,)), [[-5], [-14], [-15], [15]], ()),
        (["price", "stars"], None, Spec.regression((1,), 2), [[2, 1], [4, 5], [1.5, 5], [3.25, 4]], ()),
    ],
)
def test_targets(target: Any, kind: Any, spec: Spec, y: list[Any], labels: tuple[Any, ...]) -> None:
    population = Population.from_frame(FRAME, user="who", features=["price"], target=target, kind=kind)
    assert population.spec == spec
    assert population.y.tolist() == y
    assert population.encoding is not None
    assert population.encoding.labels == labels
    names = [target] if isinstance(target, str) else target
    assert [column.name for column in population.encoding.targets] == ([] if labels else names)


def test_items_with_titles() -> None:
    ratings = Population.from_frame(FRAME, user="who", features="film", target="price", titles="title")
    assert ratings.spec == Spec.regression((), items=3)
    assert ratings.x.tolist() == [0, 1, 2, 2]
    assert ratings.encoding is not None
    assert (ratings.encoding.items, ratings.encoding.titles) == ((7, 12, 300), ("Alien", "Heat", "Brazil"))
    clicks = Population.from_frame(
        FRAME, user="who", features="title", kind="ranking", titles={"Heat": "Heat (1995)", "Up": "Up"}
    )
    assert clicks.spec == Spec.ranking(3)
    assert clicks.y.tolist() == [1, 1, 1, 1]
    assert clicks.encoding is not None
    assert clicks.encoding.items == ("Alien", "Brazil", "Heat")
    assert clicks.encoding.titles == ("Alien", "Brazil", "Heat (1995)")
    weighted = Population.from_frame(FRAME, user="who", features="film", target="stars", kind="ranking")
    assert weighted.y.tolist() == [1, 5, 5, 4]


def test_a_given_spec_is_kept_or_the_columns_are_refused() -> None:
    stars = Population.from_frame(
        FRAME, user="who", features=["price"], target="stars", spec=Spec.classification((1,), 6)
    )
    assert stars.y.tolist() == [1, 5, 5, 4], "classes of the spec stay"
    films = Population.from_frame(
        FRAME, user="who", features="film", target="price", spec=Spec.regression((), items=400)
    )
    assert films.x.tolist() == [7, 12, 300, 300]
    for spec, part in (
        (Spec.classification((1,), 3), "answer has 2 labels and the spec 3"),
        (Spec.regression((1,)), "the target answer holds words"),
        (Spec.classification((2,), 2), "expected (rows, 2)"),
        (Spec.classification((1,), 2, ids={0: 4}), "leave spec out"),
    ):
        with refused(DataError, part):
            Population.from_frame(FRAME, user="who", features=["price"], target="answer", spec=spec)
    with refused(DataError, "title has 3 items and the spec 4"):
        Population.from_frame(FRAME, user="who", features="title", target="price", spec=Spec.regression((), items=4))


@pytest.mark.parametrize(
    ("columns", "arguments", "parts"),
    [
        ({"tags": [["a"], [], ["b"], []]}, {"features": ["tags"]}, ("column tags holds a list",)),
        ({"price": [1, None, 2, 3]}, {"target": "price"}, ("the target price has gaps", "drop those rows")),
        ({}, {"features": []}, ("names no column",)),
        ({}, {"features": ["age", "heights"]}, ("no column ['heights']", "'age'")),
        ({}, {"titles": "title"}, ("no item ids",)),
        ({}, {"titles": "names"}, ("no column ['names']",)),
        ({}, {"target": None}, ("kind='ranking'",)),
        (
            {},
            {"features": "age", "target": None, "kind": "ranking"},
            ("the features age are no item ids", "one column of whole numbers or words", ".astype('int64')"),
        ),
        ({}, {"features": [3]}, ("3 is no name of a column", "frame.columns.map(str)")),
        ({}, {"features": 3}, ("3 is no name of a column",)),
        ({}, {"user": 0}, ("0 is no name of a column",)),
        ({}, {"target": ["answer", "stars"], "kind": "classification"}, ("expected one column of labels",)),
    ],
)
def test_what_fits_nothing_is_refused_by_name(columns: Any, arguments: Any, parts: tuple[str, ...]) -> None:
    with refused(DataError, *parts):
        Population.from_frame(
            FRAME.assign(**columns), **{"user": "who", "features": ["age"], "target": "answer"} | arguments
        )


def test_no_frame_and_no_rows_are_refused() -> None:
    with refused(DataError, "the frame is a int", "expected a data frame"):
        Population.from_frame(3, user="who", features=["age"], target="answer")
    with refused(PopulationError, "there are no rows"):
        Population.from_frame(FRAME[:0], user="who", features=["age"], target="answer")


class PolarsColumn:
    """What this package uses of a column of polars."""

    def __init__(self, values: pd.Series[Any]) -> None:
        self._values = values

    def to_numpy(self) -> Any:
        return np.asarray(self._values.astype(object).where(self._values.notna(), None)) if (
            self._values.dtype.kind == "O") else self._values.to_numpy()  # fmt: skip

    def __len__(self) -> int:
        return len(self._values)


class PolarsFrame:
    """As polars: `columns` is a list, and a column comes by name."""

    def __init__(self, frame: pd.DataFrame) -> None:
        self._frame, self.columns = frame, list(frame.columns)

    def __getitem__(self, name: str) -> PolarsColumn:
        return PolarsColumn(self._frame[name])


def test_other_tables_give_the_same() -> None:
    features = ["age", "channel", "member", "since"]
    first = Population.from_frame(FRAME, user="who", features=features, target="answer")
    for table in (PolarsFrame(FRAME), FRAME.to_dict("list"), FRAME.to_dict("records"), FRAME.to_records(index=False)):
        other = Population.from_frame(table, user="who", features=features, target="answer")
        np.testing.assert_array_equal(other.x, first.x)
        assert (other.y.tolist(), other.encoding) == (first.y.tolist(), first.encoding)


def test_the_encoding_stays_with_subsets_and_on_disk(tmp_path: Path) -> None:
    population = Population.from_frame(FRAME, user="who", features=["channel"], target="answer")
    assert population.encoding is not None
    assert population.subset([1]).encoding == population.encoding
    users = [population.local(user) for user in range(2)]
    assert write_population(tmp_path, population.spec, users, population.encoding).encoding == population.encoding
    assert write_population(tmp_path, population.spec, users).encoding is None
    (tmp_path / "encoding.json").write_text("[]")
    with refused(DataError, "holds no readable population"):
        read_population(tmp_path)


def test_names_beside_arrays() -> None:
    x, y, who = np.asarray([[1.0, 2.0], [3.0, 4.0]]), np.asarray([0.5, 1.0]), [0, 1]
    named = Population.from_arrays(x, y, who, feature_names=["age", "height"])
    assert named.encoding is not None
    assert named.encoding.names == named.encoding.features == ("age", "height")
    assert named.x.tolist() == x.tolist()
    assert Population.from_arrays(x, y, who).encoding is None, "bare arrays have no encoding"
    clicks = Population.from_arrays(["b", "a"], [1, 1], who, kind="ranking", titles={"b": "Brazil"})
    assert clicks.encoding is not None
    assert (clicks.encoding.items, clicks.encoding.titles) == (("a", "b"), ("a", "Brazil"))
    bare = Population.from_arrays([2, 0], [1, 1], who, Spec.ranking(3), titles=["Alien", "Brazil", "Heat"])
    assert bare.encoding is not None
    assert (bare.encoding.items, bare.encoding.titles) == ((), ("Alien", "Brazil", "Heat"))
    for arguments, part in (
        ({"feature_names": ["age"]}, "1 feature_names"),
        ({"titles": ["a"]}, "expected item ids"),
    ):
        with refused(DataError, part):
            Population.from_arrays(x, y, who, **arguments)  # type: ignore[arg-type] # wrong on purpose
    with refused(DataError, "2 titles for 3 items"):
        Population.from_arrays([2, 0], [1, 1], who, Spec.ranking(3), titles=["a", "b"])


@pytest.mark.parametrize(
    ("delimiter", "decimal", "said"),
    [(",", ".", "','"), (";", ",", "';', decimal comma"), ("\t", ".", "'\\t'"), (", ", ".", "','")],
)
def test_a_file_is_one_call(
    tmp_path: Path, delimiter: str, decimal: str, said: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO", "tegu")
    header = ["who", "price", "channel", "since", "answer"]
    cells = [
        [row.who, str(row.price).replace(".", decimal), row.channel or "", f"{row.since:%Y-%m-%d}", row.answer]
        for row in FRAME.itertuples()
    ]
    path = tmp_path / "rows.csv"
    path.write_text(
        "\n".join(delimiter.join(map(str, line)).replace("nan", "") for line in [header, *cells]) + "\n", "utf-8-sig"
    )
    features = ["price", "channel", "since"]
    found = Population.from_file(path, user="who", features=features, target="answer")
    expected = Population.from_frame(FRAME, user="who", features=features, target="answer")
    np.testing.assert_array_equal(found.x, expected.x)
    assert (found.y.tolist(), found.encoding) == (expected.y.tolist(), expected.encoding)
    assert f"read 4 rows of rows.csv, delimiter {said}, header who, price, channel, since, answer." in caplog.text


def test_files_that_cannot_be_read_are_refused(tmp_path: Path) -> None:
    names: dict[str, Any] = {"user": "who", "features": ["price"], "target": "answer"}
    with refused(DataError, "absent.csv", "UTF-8"):
        Population.from_file(tmp_path / "absent.csv", **names)
    (tmp_path / "bare.csv").write_text("al,1.5,yes\nbo,2.5,no\n")
    with refused(DataError, "no column ['who', 'price', 'answer']", "'al'"):
        Population.from_file(tmp_path / "bare.csv", **names)
    (tmp_path / "mixed.csv").write_text("who;price\nal;1,5\nbo;2.5\n")
    with refused(DataError, "1,5 and 2.5", "one decimal mark"):
        Population.from_file(tmp_path / "mixed.csv", **names)
    (tmp_path / "rows.parquet").write_bytes(b"PAR1")
    with pytest.raises((DataError, MissingExtraError), match=r"rows\.parquet|tegu\[tables\]"):
        Population.from_file(tmp_path / "rows.parquet", **names)


def test_a_frame_of_numbers_gives_its_names() -> None:
    """As scikit-learn keeps `feature_names_in_`, so that reordered columns are put right on the device."""
    named = Population.from_arrays(FRAME[["price", "stars"]], FRAME.price, FRAME.who)
    assert named.encoding is not None
    assert named.encoding.features == ("price", "stars")
    with refused(DataError, "['channel'] of x hold no numbers", "from_frame"):
        Population.from_arrays(FRAME[["price", "channel"]], FRAME.price, FRAME.who)


def test_notes_say_what_may_be_meant_otherwise(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO", "tegu")
    frame = FRAME.assign(zip=["01067", "10115", "01067", "80331"], pulse=["71", "?", "64", "80"])
    Population.from_frame(frame, user="who", features=["price", "stars", "zip", "pulse"], target="answer")
    assert (
        "price, stars: taken as numbers, unchanged; name stars in categories where the numbers are codes."
        in caplog.text
    )
    assert "zip is a category with 3 levels" in caplog.text
    assert "its text looks like numbers: convert it" in caplog.text
    assert "its text looks like numbers beside '?': convert it" in caplog.text


def test_a_header_that_names_a_column_twice_is_refused(tmp_path: Path) -> None:
    (tmp_path / "twice.csv").write_text("who,age,age,answer\n" + "1,2,3,yes\n" * 5)
    with pytest.raises(DataError, match="several columns called 'age': expected each name once"):
        Population.from_file(tmp_path / "twice.csv", user="who", features=["age"], target="answer")
