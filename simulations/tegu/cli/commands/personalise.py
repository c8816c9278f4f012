"""`tegu personalise`: adapt a bundle to one user and predict, from CSV to CSV. Does not import torch."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
from rich.console import Console
from rich.table import Table
from rich.text import Text

from tegu.cli.parsing.csv_rows import read_columns, read_ids, read_rows, write_rows
from tegu.cli.parsing.public_key import parse_public_key
from tegu.client import Personalizer
from tegu.core.data.batch import Array
from tegu.core.errors import DataError, FileError

__all__ = ["personalise_command"]


def personalise_command(
    bundle: Path,
    interactions: Path,
    *,
    inputs: Path | None,
    out: Path | None,
    store: Path | None,
    top: int,
    titles: Path | None,
    later: Path | None,
    public_key: str | None,
) -> None:
    """Observe the interactions, adapt, and write predictions or recommendations.

    Raises:
        TeguError: a file cannot be read or does not fit the bundle.
    """
    with Personalizer.open(bundle, store, public_key=parse_public_key(public_key)) as personalizer:
        x, y = read_rows(interactions, personalizer.spec)
        if personalizer.spec.kind != "ranking" and (y is None or inputs is None):
            raise DataError("a model that does not rank needs targets (columns y...) and --inputs to predict for")
        ranks = personalizer.spec.kind == "ranking"
        before = personalizer.recommend(top + len(x))[0] if ranks else np.zeros(0, np.int64)
        personalizer.observe(x, y)
        report = personalizer.adapt()
        Console(stderr=True).print(f"{report.reason} ({report.milliseconds:.1f} ms)", highlight=False)
        if ranks:
            unseen = before[~np.isin(before, x)][:top]
            _recommend(personalizer, unseen, top, out, titles, later)
        elif inputs is not None:
            _predict(personalizer, inputs, out)


def _predict(personalizer: Personalizer, inputs: Path, out: Path | None) -> None:
    predicted = personalizer.predict(read_rows(inputs, personalizer.spec)[0])
    header = [f"output{i}" for i in range(predicted.shape[1])]
    _write_csv(out, header, [[f"{value:.6g}" for value in row] for row in predicted])


def _recommend(
    personalizer: Personalizer, before: Array, top: int, out: Path | None, titles: Path | None, later: Path | None
) -> None:
    items, scores = personalizer.recommend(top)
    titles_by_item = _read_titles(titles)
    if out is not None or titles_by_item is None:
        rows = [[i + 1, int(item), f"{score:.6g}"] for i, (item, score) in enumerate(zip(items, scores, strict=True))]
        _write_csv(out, ["rank", "item", "score"], rows)
    if titles_by_item is not None:
        later_items = set(read_ids(later, "item")) if later is not None else set()
        _show_ranking(before, items, titles_by_item, later_items)


def _show_ranking(before: Array, after: Array, titles: dict[int, str], later_items: set[int]) -> None:
    table = Table(title="Top ten" if len(after) == 10 else f"Top {len(after)}")
    for column in ("", "before", "after"):
        table.add_column(column)
    for rank, pair in enumerate(zip(before, after, strict=True), start=1):
        cells = [f"{'★ ' if int(item) in later_items else '  '}{titles.get(int(item), str(item))}" for item in pair]
        table.add_row(str(rank), *map(Text, cells))  # brackets in a title are not markup
    console = Console()
    console.print(table)
    hits = [sum(int(item) in later_items for item in items) for items in (before, after)]
    if later_items:
        console.print(
            f"★ items this user chose later: {hits[0]} of {len(before)} before, {hits[1]} after",
            highlight=False,
        )
    torch = "torch was imported" if "torch" in sys.modules else "this process has not imported torch"
    console.print(torch, highlight=False)


def _read_titles(path: Path | None) -> dict[int, str] | None:
    if path is None:
        return None
    columns = read_columns(path)
    if not {"item", "title"} <= columns.keys():
        raise DataError(f"{path} has the columns {sorted(columns)}: expected item and title")
    return dict(zip(read_ids(path, "item"), columns["title"], strict=True))


def _write_csv(out: Path | None, header: list[str], rows: list[list[object]] | list[list[str]]) -> None:
    if out is None:
        write_rows(sys.stdout, header, rows)
        return
    try:
        with out.open("w", newline="", encoding="utf-8") as file:
            write_rows(file, header, rows)
    except OSError as error:
        raise FileError(f"cannot write {out} ({error.strerror or error}): name another file") from error
