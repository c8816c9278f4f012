"""`tegu personalise` goes by names where the bundle has them, and finds out how a file is written."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from tests.cli.conftest import ITEMS, CommandResult
from tests.cli.test_help import assert_error
from torch import nn

from tegu.client import Personalizer
from tegu.compile import make_bundle
from tegu.core.bundle.file import read_bundle, write_bundle
from tegu.core.data.spec import Spec
from tegu.core.encoding.encoding import Encoding
from tegu.core.encoding.fit import fit_column
from tegu.core.encoding.labels import encode_labels
from tegu.learners import reptile

Run = Callable[..., CommandResult]
ROWS: dict[str, list[Any]] = {
    "age": [31.5, None, 60.25],
    "channel": ["mail", "web", "mail"],
    "year": [2001, 2020, 1999],
    "since": ["2024-03-01", "2024-03-05", "2024-03-02"],
}
ANSWERS = ["reply", "ignore", "urgent"]
ENCODING = Encoding(
    columns=tuple(fit_column(name, cells) for name, cells in ROWS.items()),
    labels=encode_labels(ANSWERS)[1],
    label="answer",
)
HEADER = [*ROWS, "answer"]


def lines(delimiter: str = ",", decimal: str = ".") -> list[str]:
    cells = zip(*ROWS.values(), ANSWERS, strict=True)
    texts = [["" if cell is None else str(cell) for cell in line] for line in cells]
    return [delimiter.join(text.replace(".", decimal) for text in line) for line in texts]


@pytest.fixture(scope="session")
def named(tmp_path_factory: pytest.TempPathFactory) -> Path:
    learner = reptile(nn.Linear(len(ENCODING.names), 3), Spec.classification((len(ENCODING.names),), 3))
    bundle = make_bundle(learner, learner.init(0))
    path = tmp_path_factory.mktemp("named") / "named.tegu"
    write_bundle(path, replace(bundle, manifest=replace(bundle.manifest, encoding=ENCODING)))
    return path


@pytest.fixture
def new(tmp_path: Path) -> Path:
    return write(tmp_path / "new.csv", ",".join(ROWS), *(line.rpartition(",")[0] for line in lines()))


def write(path: Path, *text: str) -> Path:
    path.write_text("\n".join(text) + "\n")
    return path


@pytest.fixture
def expected(named: Path) -> list[str]:
    """The labels and logits that the Python interface gives."""
    with Personalizer.open(named) as person:
        person.observe(ROWS, ANSWERS)
        person.adapt()
        outputs = person.predict(ROWS)
        labels = person.predict_labels(ROWS).tolist()
    assert labels == [("ignore", "reply", "urgent")[row] for row in outputs.argmax(1)]
    rows = zip(labels, outputs.tolist(), strict=True)
    return [
        "answer,output ignore,output reply,output urgent",
        *(",".join([label, *(f"{value:.6g}" for value in row)]) for label, row in rows),
    ]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ([",".join(HEADER), *lines()], "delimiter ',', header age, channel, year, since, answer"),
        ([";".join(HEADER), *lines(";", ",")], "delimiter ';', decimal comma, header age, channel"),
        ([", ".join(HEADER), *lines(", ")], "delimiter ',', header age, channel"),
        (["\t".join(HEADER), *lines("\t")], "delimiter tab, header age"),
        (lines(), "delimiter ',', no header, columns taken as age, channel, year, since, answer"),
        (["id," + ",".join(HEADER), *(f"7,{line}" for line in lines())],
         "header id, age, channel, year, since, answer; ignored id"),
    ],
)  # fmt: skip
def test_columns_go_by_name(
    tegu: Run, named: Path, new: Path, tmp_path: Path, text: list[str], said: str, expected: list[str]
) -> None:
    seen = write(tmp_path / "seen.csv", *text)
    result = tegu("personalise", named, "--interactions", seen, "--inputs", new)
    assert result.code == 0, result.err
    assert "read 3 rows of seen.csv, " in result.err
    assert said in result.err
    assert result.out.splitlines() == expected


def test_the_order_of_columns_has_no_influence(
    tegu: Run, named: Path, new: Path, tmp_path: Path, expected: list[str]
) -> None:
    """`year` begins with y and is an input all the same."""
    reordered = [",".join(reversed(line.split(","))) for line in [",".join(HEADER), *lines()]]
    result = tegu("personalise", named, "--interactions", write(tmp_path / "seen.csv", *reordered), "--inputs", new)
    assert result.out.splitlines() == expected


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        (["age,channel,year,answer", "1,mail,2000,reply"], ("missing ['since']", "expected ['age', 'channel'")),
        (["age,channel,year,since", "1,mail,2000,2024-01-01"], ("missing ['answer']",)),
        (["alter,kanal,jahr,seit,antwort", "1,mail,2000,2024-01-01,reply"], ("the first line is alter, kanal",)),
        (["1,mail,2000,2024-01-01"], ("the first line is 1, mail", "expected a header with age, channel")),
        ([",".join(HEADER), "1,mail,2000,2024-01-01,relpy"], ("'relpy' is no known label", "did you mean reply")),
        ([",".join(HEADER), "1,mail,now,2024-01-01,reply"], ("column year holds 'now'", "expected a number")),
        ([",".join(HEADER), "1,mail,,2024-01-01,reply"], ("column year is empty in row 0", "no gaps")),
        ([",".join(HEADER), "1,mail,2000,1.2.2024,reply"], ("column since holds '1.2.2024'", "expected a date")),
        (["age;year;since", "1,5;2000;2024-01-01", "1.5;2000;2024-01-01"], ("1,5 and 1.5", "one decimal mark")),
    ],
)
def test_what_does_not_fit_is_refused_by_name(
    tegu: Run, named: Path, new: Path, tmp_path: Path, text: list[str], parts: tuple[str, ...]
) -> None:
    seen = write(tmp_path / "seen.csv", *text)
    assert_error(tegu("personalise", named, "--interactions", seen, "--inputs", new), *parts)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (["year,b,y", "0.5,1,2", "1,1,0"], "header year, b, y"),
        (["year;b;target", "0,5;1;2", "1;1;0"], "decimal comma, header year, b, target"),
        (["year, b, y", "0.5, 1, 2", "1, 1, 0"], "delimiter ',', header year, b, y"),
        (["0.5,1,2", "1,1,0"], "no header, columns taken as x0, x1, y0"),
        (["0,5;1;2", "1;1;0"], "delimiter ';', decimal comma, no header"),
    ],
)
def test_without_names_only_y_and_target_are_targets(
    tegu: Run, bundles: dict[str, Path], tmp_path: Path, text: list[str], said: str
) -> None:
    new = write(tmp_path / "new.csv", "year,b", "0,0", "3,4")
    with Personalizer.open(bundles["classification"]) as person:
        person.observe([[0.5, 1], [1, 1]], [2, 0])
        person.adapt()
        rows = person.predict([[0, 0], [3, 4]])
    seen = write(tmp_path / "seen.csv", *text)
    result = tegu("personalise", bundles["classification"], "--interactions", seen, "--inputs", new)
    assert result.code == 0, result.err
    assert "read 2 rows of seen.csv, " in result.err
    assert said in result.err
    assert result.out.splitlines()[1:] == [",".join(f"{value:.6g}" for value in row) for row in rows]


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        (["0.5,one,2", "1,1,0"], ("the first line is 0.5, one, 2", "name every column")),
        (["a,b,year", "0.5,1,2"], ("['a', 'b', 'year']", "expected 2")),
        (["1,2,3,4", "0.5,1,2,4"], ("column 1", "expected 2 columns")),
    ],
)
def test_without_names_what_is_ambiguous_is_refused(
    tegu: Run, bundles: dict[str, Path], tmp_path: Path, text: list[str], parts: tuple[str, ...]
) -> None:
    new = write(tmp_path / "new.csv", "a,b", "0,0")
    seen = write(tmp_path / "seen.csv", *text)
    assert_error(tegu("personalise", bundles["classification"], "--interactions", seen, "--inputs", new), *parts)


def test_items_go_by_id_and_title(tegu: Run, bundles: dict[str, Path], tmp_path: Path) -> None:
    bundle = read_bundle(bundles["ranking"])
    items = tuple(100 + 7 * i for i in range(ITEMS))
    titles = tuple(f"Film {i}" for i in range(ITEMS))
    path = tmp_path / "films.tegu"
    encoding = Encoding(items=items, titles=titles, item="film", label="clicks")
    write_bundle(path, replace(bundle, manifest=replace(bundle.manifest, encoding=encoding)))
    bare = write(tmp_path / "bare.csv", "item", "3", "7")
    plain = tegu("personalise", bundles["ranking"], "--interactions", bare, "--top", 4).out.splitlines()[1:]
    expected = [
        f"{rank},{items[int(item)]},{titles[int(item)]},{score}"
        for rank, item, score in (line.split(",") for line in plain)
    ]
    for text in (["film", "121", "Film 7"], ["clicks,film", "1,Film 3", "1,149"]):
        seen = write(tmp_path / "seen.csv", *text)
        result = tegu("personalise", path, "--interactions", seen, "--top", 4)
        assert result.out.splitlines() == ["rank,item,title,score", *expected], result.err
    later = write(tmp_path / "later.csv", "item", expected[0].split(",")[1])
    named = write(tmp_path / "titles.csv", "item,title", *(f"{item},[{item}]" for item in items))
    shown = tegu("personalise", path, "--interactions", seen, "--top", 4, "--titles", named, "--later", later)
    assert f"★ [{expected[0].split(',')[1]}]" in shown.out
    wrong = write(tmp_path / "seen.csv", "film", "Film 77")
    assert_error(tegu("personalise", path, "--interactions", wrong), "'Film 77' is no known item", "did you mean")


def test_inspect_shows_names(tegu: Run, named: Path) -> None:
    said = tegu("inspect", named).out
    for part in ("age is a number; a gap becomes", "channel is a category with 2 levels (mail, web)",
                 "since is a date, in days since 2024-03-03", "ignore, reply, urgent"):  # fmt: skip
        assert part in " ".join(said.replace("│", " ").split())
