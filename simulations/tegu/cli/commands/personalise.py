"""`tegu personalise`: what an application does with a bundle, from files. Imports no torch."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
from rich.console import Console
from rich.table import Table
from rich.text import Text
from tegu.cli.parsing.public_key import parse_public_key

from tegu.cli.parsing.csv_rows import read_columns, read_ids, read_rows, write_rows
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
        TeguError: files that do not fit the bundle.
    """
    with Personalizer.open(bundle, store, public_key=parse_public_key(public_key)) as person:
        x, y = read_rows(interactions, person.spec)
        if person.spec.kind != "ranking" and (y is None or inputs is None):
            raise DataError("a model that does not rank needs targets (columns y...) and --inputs to predict for")
        before = person.recommend(top + len(x))[0] if person.spec.kind == "ranking" else np.zeros(0, np.int64)
        person.observe(x, y)
        report = person.adapt()
        Console(stderr=True).print(f"{report.reason} ({report.milliseconds:.1f} ms)", highlight=False)
        if person.spec.kind == "ranking":
            unseen = before[~np.isin(before, x)][:top]
            _recommend(person, unseen, top, out, titles, later)
        elif inputs is not None:
            _predict(person, inputs, out)


def _predict(person: Personalizer, inputs: Path, out: Path | None) -> None:
    predicted = person.predict(read_rows(inputs, person.spec)[0])
    header = [f"output{i}" for i in range(predicted.shape[1])]
    _write(out, header, [[f"{value:.6g}" for value in row] for row in predicted])


def _recommend(
    person: Personalizer, before: Array, top: int, out: Path | None, titles: Path | None, later: Path | None
) -> None:
    items, scores = person.recommend(top)
    names = _titles(titles)
    if out is not None or names is None:
        rows = [[i + 1, int(item), f"{score:.6g}"] for i, (item, score) in enumerate(zip(items, scores, strict=True))]
        _write(out, ["rank", "item", "score"], rows)
    if names is not None:
        chosen = set(read_ids(later, "item")) if later is not None else set()
        _show(before, items, names, chosen)


def _show(before: Array, after: Array, names: dict[int, str], chosen: set[int]) -> None:
    table = Table(title="Top ten" if len(after) == 10 else f"Top {len(after)}")
    for column in ("", "before", "after"):
        table.add_column(column)
    for rank, pair in enumerate(zip(before, after, strict=True), start=1):
        marked = [f"{'★ ' if int(item) in chosen else '  '}{names.get(int(item), str(item))}" for item in pair]
        table.add_row(str(rank), *map(Text, marked))  # a title's brackets are no markup
    console = Console()
    console.print(table)
    hits = [sum(int(item) in chosen for item in items) for items in (before, after)]
    if chosen:
        console.print(
            f"★ chosen by this person later: {hits[0]} of {len(before)} before, {hits[1]} after", highlight=False
        )
    torch = "torch was imported" if "torch" in sys.modules else "this process has not imported torch"
    console.print(torch, highlight=False)


def _titles(path: Path | None) -> dict[int, str] | None:
    if path is None:
        return None
    columns = read_columns(path)
    if not {"item", "title"} <= columns.keys():
        raise DataError(f"{path} has the columns {sorted(columns)}: expected item and title")
    return dict(zip(read_ids(path, "item"), columns["title"], strict=True))


def _write(out: Path | None, header: list[str], rows: list[list[object]] | list[list[str]]) -> None:
    if out is None:
        write_rows(sys.stdout, header, rows)
        return
    try:
        with out.open("w", newline="", encoding="utf-8") as file:
            write_rows(file, header, rows)
    except OSError as error:
        raise FileError(f"cannot write {out} ({error.strerror or error}): name another file") from error
