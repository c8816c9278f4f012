"""`tegu personalise`: from CSV to CSV."""

from __future__ import annotations

import csv
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from tests.cli.conftest import ITEMS, CommandResult
from tests.cli.test_help import assert_error
from tests.sim import people

from tegu.client import Personalizer
from tegu.core.bundle.file import read_bundle, write_bundle
from tegu.core.bundle.signing import new_key_pair

Run = Callable[..., CommandResult]
CLICKED = [3, 7, 3, 11]


def parse_csv(text: str) -> tuple[list[str], list[list[str]]]:
    header, *rows = list(csv.reader(text.splitlines()))
    return header, rows


def write_text(path: Path, text: str, encoding: str = "utf-8") -> Path:
    path.write_text(text, encoding=encoding)
    return path


def write_csv(path: Path, header: str, rows: np.ndarray[tuple[int, ...], np.dtype[np.float32]]) -> Path:
    lines = [",".join(map(repr, row)) for row in np.atleast_2d(rows).astype(float).tolist()]
    return write_text(path, "\n".join([header, *lines]) + "\n")


@pytest.fixture
def labelled(tmp_path: Path) -> tuple[Path, Path]:
    """Interactions and inputs for the classifier."""
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(6, 2)).astype(np.float32), rng.integers(3, size=(6, 1))
    interactions = write_csv(tmp_path / "seen.csv", "a,label_b,y", np.concatenate([x, y], 1))
    return interactions, write_csv(tmp_path / "new.csv", "a,label_b", rng.normal(size=(4, 2)).astype(np.float32))


def read_floats(path: Path) -> np.ndarray[tuple[int, ...], np.dtype[np.float64]]:
    return np.asarray(parse_csv(path.read_text())[1], float)


def test_classification_equals_torchs_predictions(
    tegu: Run, bundles: dict[str, Path], labelled: tuple[Path, Path], tmp_path: Path
) -> None:
    seen, new = labelled
    out = tmp_path / "out.csv"
    result = tegu("personalise", bundles["classification"], "--interactions", seen, "--inputs", new, "--out", out)
    assert (result.code, result.out) == (0, "")
    assert "Took all 2 steps" in result.err
    header, rows = parse_csv(out.read_text())
    assert header == ["output0", "output1", "output2"]
    support, x = read_floats(seen).astype(np.float32), read_floats(new).astype(np.float32)
    meta = read_bundle(bundles["classification"]).meta
    model = people.torch_adapted(meta, support[:, :2], support[:, 2].astype(int), 2, 0.125, 1.0)
    np.testing.assert_allclose(np.asarray(rows, float), people.torch_outputs(model, x), atol=1e-4)
    result = tegu("personalise", bundles["classification"], "--interactions", seen, "--inputs", new)
    assert result.out == out.read_text(), "without --out, stdout has the CSV and nothing else"


def test_regression_of_two_targets(tegu: Run, bundles: dict[str, Path], tmp_path: Path) -> None:
    rng = np.random.default_rng(1)
    x, y = rng.normal(size=(8, 2)).astype(np.float32), rng.normal(size=(8, 2)).astype(np.float32)
    seen = write_csv(tmp_path / "seen.csv", "Y1,p,q,y2", np.stack([y[:, 0], x[:, 0], x[:, 1], y[:, 1]], 1))
    new = write_csv(tmp_path / "new.csv", "p,q", x[:3])
    result = tegu("personalise", bundles["regression"], "--interactions", seen, "--inputs", new)
    assert result.code == 0, result.err
    with Personalizer.open(bundles["regression"]) as personalizer:
        before = personalizer.predict(x[:3])
        personalizer.observe(x, y)
        personalizer.adapt()
        expected = personalizer.predict(x[:3])
    header, rows = parse_csv(result.out)
    assert header == ["output0", "output1"]
    np.testing.assert_allclose(np.asarray(rows, float), expected, rtol=1e-5)
    assert np.abs(expected - before).max() > 0.05


def top_items(bundle: Path, clicked: list[int], top: int) -> tuple[list[int], list[int]]:
    """The best unseen items before and after adapting, from the scores of the whole catalogue."""
    with Personalizer.open(bundle) as personalizer:
        before = personalizer.predict(np.arange(ITEMS))
        personalizer.observe(np.asarray(clicked))
        personalizer.adapt()
        after = personalizer.predict(np.arange(ITEMS))
    return tuple(  # type: ignore[return-value]
        [item for item in np.argsort(-scores, kind="stable").tolist() if item not in clicked][:top]
        for scores in (before, after)
    )


def test_ranking_recommends_unseen_items(tegu: Run, bundles: dict[str, Path], tmp_path: Path) -> None:
    seen = write_text(tmp_path / "seen.csv", "item,title\n" + "".join(f"{i},Film\n" for i in CLICKED))
    out = tmp_path / "out.csv"
    result = tegu("personalise", bundles["ranking"], "--interactions", seen, "--top", 4, "--out", out)
    assert result.code == 0, result.err
    header, rows = parse_csv(out.read_text())
    before, after = top_items(bundles["ranking"], CLICKED, 4)
    assert header == ["rank", "item", "score"]
    assert [int(row[0]) for row in rows] == [1, 2, 3, 4]
    assert [int(row[1]) for row in rows] == after != before
    scores = [float(row[2]) for row in rows]
    assert scores == sorted(scores, reverse=True)
    weighted = write_text(tmp_path / "weighted.csv", "item,y\n" + "".join(f"{i},1\n" for i in CLICKED))
    assert tegu("personalise", bundles["ranking"], "--interactions", weighted, "--top", 4).out == out.read_text()
    everything = tegu("personalise", bundles["ranking"], "--interactions", seen, "--top", 99)
    assert len(parse_csv(everything.out)[1]) == ITEMS - len(set(CLICKED))


def test_ranking_shows_titles_before_and_after(tegu: Run, bundles: dict[str, Path], tmp_path: Path) -> None:
    """Brackets in titles stay. Items the user chose later are marked and counted in both columns."""
    names = {item: f"[b]Film[/b] [/{item}]" for item in range(ITEMS)}
    before, after = top_items(bundles["ranking"], CLICKED, 5)
    hits = [after[0], after[3], before[1]]
    seen = write_text(tmp_path / "seen.csv", "item\n" + "".join(f"{i}\n" for i in CLICKED))
    titles = write_text(tmp_path / "titles.csv", "item,title\n" + "".join(f"{i},{name}\n" for i, name in names.items()))
    later = write_text(tmp_path / "later.csv", "item\n" + "".join(f"{i}\n" for i in hits))
    result = tegu(
        "personalise", bundles["ranking"], "--interactions", seen, "--titles", titles, "--later", later, "--top", 5
    )
    assert result.code == 0, result.err
    rows = [
        [cell.strip() for cell in line.split("│")[1:-1]] for line in result.out.splitlines() if line.startswith("│")
    ]
    expected = [
        [str(rank), *(f"★ {names[i]}" if i in hits else names[i] for i in pair)]
        for rank, pair in enumerate(zip(before, after, strict=True), start=1)
    ]
    assert rows == expected
    counts = [len(set(hits) & set(items)) for items in (before, after)]
    assert f"{counts[0]} of 5 before, {counts[1]} after" in result.out
    assert "torch was imported" in result.out, "this test process imports it"


def test_a_store_remembers(tegu: Run, bundles: dict[str, Path], tmp_path: Path) -> None:
    store = tmp_path / "me.db"
    for clicked in ([3, 7], [11]):
        seen = write_text(tmp_path / "seen.csv", "item\n" + "".join(f"{i}\n" for i in clicked))
        result = tegu("personalise", bundles["ranking"], "--interactions", seen, "--store", store, "--top", 4)
        assert result.code == 0, result.err
    assert [int(row[1]) for row in parse_csv(result.out)[1]] == top_items(bundles["ranking"], [3, 7, 11], 4)[1]


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("", ("is empty", "expected a header")),
        ("a,b,y\n", ("empty support", "at least one interaction")),
        ("a,b,y\n0,1,2\n0,1\n", ("line 3 has 2 cells", "expected 3")),
        ("a,b,c,y\n0,1,2,0\n", ("['a', 'b', 'c']", "expected 2")),
        ("a,y\n0,1\n", ("['a']", "expected 2")),
        ("a,b,y1,y2\n0,1,1,1\n", ("['y1', 'y2']", "expected 1")),
        ("a,a,y\n0,1,1\n", ("['a', 'a', 'y']", "each name once")),
        ("a,b\n0,1\n", ("needs targets (a column y or target",)),
        ("a,b,y\nx,1,2\n", ("not a number", "'x'")),
        ("a,b,y\n,1,2\n", ("not a number",)),
        ("a,b,y\nnan,1,2\n", ("NaN or infinite in row 0",)),
        ("a,b,y\n0,1,1.5\n", ("has 1.5 in ['y']", "integer")),
        ("a,b,y\n0,1,nan\n", ("has nan in ['y']", "integer")),
        ("a,b,y\n0,1,inf\n", ("has inf in ['y']", "integer")),
        ("a,b,y\n0,1,1e300\n", ("has 1e+300 in ['y']", "integer")),
        ("a,b,y\n0,1,3\n", ("id 3", "from 0 to 2")),
        ("a,b,y\n0,1,-1\n", ("id -1",)),
        ('a,b,y\n"' + "0" * 200_000 + '",1,2\n', ("cannot read", "field larger")),
    ],
)
def test_bad_interactions_end_with_one_line(
    tegu: Run, bundles: dict[str, Path], labelled: tuple[Path, Path], tmp_path: Path, text: str, parts: tuple[str, ...]
) -> None:
    bad = write_text(tmp_path / "bad.csv", text)
    out = tmp_path / "out.csv"
    result = tegu(
        "personalise", bundles["classification"], "--interactions", bad, "--inputs", labelled[1], "--out", out
    )
    assert_error(result, *parts)
    assert not out.exists()


def test_bad_files_end_with_one_line(
    tegu: Run, bundles: dict[str, Path], labelled: tuple[Path, Path], tmp_path: Path
) -> None:
    seen, new = labelled
    base = ("personalise", bundles["classification"], "--interactions")
    assert_error(tegu(*base, tmp_path / "absent.csv", "--inputs", new), "cannot read", "absent.csv", "CSV")
    assert_error(tegu(*base, tmp_path, "--inputs", new), "cannot read", tmp_path)
    (tmp_path / "latin.csv").write_bytes("ä,b,y\n0,1,2\n".encode("latin-1"))
    assert_error(tegu(*base, tmp_path / "latin.csv", "--inputs", new), "UTF-8")
    assert_error(tegu(*base, seen), "--inputs")
    nowhere = tmp_path / "no/where.csv"
    result = tegu(*base, seen, "--inputs", new, "--out", nowhere)
    assert result.code == 1
    assert f"tegu: cannot write {nowhere}" in result.err
    assert_error(tegu("personalise", seen, "--interactions", seen), "truncated or not a bundle")


@pytest.mark.parametrize(
    ("option", "text", "parts"),
    [
        ("--titles", "item,name\n0,x\n", ("['item', 'name']", "item and title")),
        ("--titles", "item,title\nzero,x\n", ("item", "'zero'", "no integer")),
        ("--later", "film\n0\n", ("['film']", "expected item")),
        ("--later", "item\n0.5\n", ("'0.5'", "no integer")),
    ],
)
def test_bad_titles_end_with_one_line(
    tegu: Run, bundles: dict[str, Path], tmp_path: Path, option: str, text: str, parts: tuple[str, ...]
) -> None:
    seen = write_text(tmp_path / "seen.csv", "item\n3\n")
    files = {
        "--titles": write_text(tmp_path / "titles.csv", "item,title\n0,x\n"),
        option: write_text(tmp_path / "bad.csv", text),
    }
    options = [part for pair in files.items() for part in pair]
    result = tegu("personalise", bundles["ranking"], "--interactions", seen, *options)
    assert result.code == 1
    assert result.err.splitlines()[-1].startswith("tegu: ")
    assert "Traceback" not in result.err
    for part in parts:
        assert part in result.err


def test_a_spreadsheets_csv_can_be_read(tegu: Run, bundles: dict[str, Path], tmp_path: Path) -> None:
    """It has a byte order mark, carriage returns and empty lines."""
    plain = write_text(tmp_path / "plain.csv", "y,a,b\n2,0.5,1\n1,1,0\n")
    odd = write_text(tmp_path / "odd.csv", "y,a,b\r\n2,0.5,1\r\n\r\n1,1,0\r\n\r\n", "utf-8-sig")
    new = write_text(tmp_path / "new.csv", "a,b\n0,0\n")
    first, second = (
        tegu("personalise", bundles["classification"], "--interactions", path, "--inputs", new) for path in (plain, odd)
    )
    assert (first.code, second.code) == (0, 0), second.err
    assert first.out == second.out


def test_a_public_key_must_fit(
    tegu: Run, bundles: dict[str, Path], labelled: tuple[Path, Path], tmp_path: Path
) -> None:
    private, public = new_key_pair()
    signed = tmp_path / "signed.tegu"
    write_bundle(signed, read_bundle(bundles["classification"]), private)
    rows = ("--interactions", labelled[0], "--inputs", labelled[1], "--public-key")
    assert tegu("personalise", signed, *rows, public.hex()).code == 0
    assert_error(tegu("personalise", signed, *rows, new_key_pair()[1].hex()), "does not match the public key")
    assert_error(tegu("personalise", bundles["classification"], *rows, public.hex()), "not signed")
    assert_error(tegu("personalise", signed, *rows, "not hex"), "'not hex'", "64 hexadecimal digits")
    assert_error(tegu("personalise", signed, *rows, "abcd"), "has 2 bytes", "32")
