"""`tegu personalise`: adapt a bundle to one user and predict, from CSV to CSV. Does not import torch."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
from rich.console import Console
from rich.table import Table
from rich.text import Text

from tegu.cli.parsing.csv_rows import read_rows, write_rows
from tegu.cli.parsing.csv_table import read_columns, read_ids
from tegu.cli.parsing.public_key import parse_public_key
from tegu.client import Personalizer
from tegu.core.data.batch import Array
from tegu.core.encoding.encoding import Encoding
from tegu.core.errors import DataError, FileError
from tegu.core.notes import visible

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
        x, y, description = read_rows(interactions, personalizer.manifest)
        ranks = personalizer.spec.kind == "ranking"
        if not ranks and (y is None or inputs is None):
            raise DataError(
                "a model that does not rank needs targets (a column y or target, or y0, y1, ...) and --inputs to "
                "predict for"
            )
        before = personalizer.recommend(personalizer.spec.items)[0] if ranks else np.zeros(0, np.int64)
        personalizer.observe(x, y)
        report = personalizer.adapt()
        _say(description)
        _say(f"{report.reason} ({report.milliseconds:.1f} ms)")
        if ranks:
            left = personalizer.recommend(personalizer.spec.items)[0]
            _recommend(personalizer, before[np.isin(before, left)][:top], top, out, titles, later)
        elif inputs is not None:
            _predict(personalizer, inputs, out)


def _say(text: str) -> None:
    Console(stderr=True).print(visible(text), highlight=False, markup=False, soft_wrap=True)


def _predict(personalizer: Personalizer, inputs: Path, out: Path | None) -> None:
    x, _, description = read_rows(inputs, personalizer.manifest, targets=False)
    encoding, predicted = personalizer.manifest.encoding or Encoding(), personalizer.predict(x)
    _say(description)
    if encoding.targets:
        values = personalizer.predict_values(x)
        _write_csv(out, list(values), [list(row) for row in zip(*map(_texts, values.values()), strict=True)])
        return
    logits = [[f"{value:.6g}" for value in row] for row in predicted]
    if not encoding.labels:
        _write_csv(out, [f"output{i}" for i in range(predicted.shape[1])], logits)
        return
    labels = personalizer.predict_labels(x)
    header = [encoding.label or "label", *(f"output {label}" for label in encoding.labels)]
    _write_csv(
        out, header[: 1 + predicted.shape[1]], [[str(own), *row] for own, row in zip(labels, logits, strict=True)]
    )


def _texts(values: Array) -> list[str]:
    """Values as text: six digits of real numbers, dates to the second."""
    if values.dtype.kind == "M":
        return [str(value) for value in values.astype("datetime64[s]")]
    return [f"{value:.6g}" if values.dtype.kind == "f" else str(value) for value in values]


def _recommend(
    personalizer: Personalizer, before: Array, top: int, out: Path | None, titles: Path | None, later: Path | None
) -> None:
    items, scores = personalizer.recommend(top)
    titles_by_item = _read_titles(titles, personalizer)
    known = personalizer.manifest.encoding is not None and bool(personalizer.manifest.encoding.titles)
    if out is not None or titles_by_item is None:
        header = ["rank", "item", *(["title"] if known else []), "score"]
        names = [[title] for title in personalizer.titles(items)] if known else [[] for _ in items]
        rows = [
            [str(i + 1), str(item), *name, f"{score:.6g}"]
            for i, (item, name, score) in enumerate(zip(items, names, scores, strict=True))
        ]
        _write_csv(out, header, rows)
    if titles_by_item is not None:
        later_items = set(_read_items(later, personalizer)) if later is not None else set()
        _show_ranking(before, items, titles_by_item, later_items)


def _read_items(path: Path, personalizer: Personalizer) -> list[str]:
    """A file's column of items, as text."""
    if personalizer.manifest.encoding is None or not personalizer.manifest.encoding.items:
        return [str(item) for item in read_ids(path, "item")]
    columns = read_columns(path)
    if "item" not in columns:
        raise DataError(f"{path} has the columns {sorted(columns)}: expected item among them")
    return columns["item"]


def _show_ranking(before: Array, after: Array, titles: dict[str, str], later_items: set[str]) -> None:
    table = Table(title="Top ten" if len(after) == 10 else f"Top {len(after)}")
    for column in ("", "before", "after"):
        table.add_column(column)
    for rank, pair in enumerate(zip(before, after, strict=True), start=1):
        cells = [f"{'★ ' if str(item) in later_items else '  '}{titles.get(str(item), str(item))}" for item in pair]
        table.add_row(str(rank), *(Text(visible(cell)) for cell in cells))  # brackets in a title are not markup
    console = Console()
    console.print(table)
    hits = [sum(str(item) in later_items for item in items) for items in (before, after)]
    if later_items:
        console.print(
            f"★ items this user chose later: {hits[0]} of {len(before)} before, {hits[1]} after",
            highlight=False,
        )
    torch = "torch was imported" if "torch" in sys.modules else "this process has not imported torch"
    console.print(torch, highlight=False)


def _read_titles(path: Path | None, personalizer: Personalizer) -> dict[str, str] | None:
    if path is None:
        return None
    columns = read_columns(path)
    if not {"item", "title"} <= columns.keys():
        raise DataError(f"{path} has the columns {sorted(columns)}: expected item and title")
    return dict(zip(_read_items(path, personalizer), columns["title"], strict=True))


def _write_csv(out: Path | None, header: list[str], rows: list[list[str]]) -> None:
    if out is None:
        write_rows(sys.stdout, header, rows)
        return
    try:
        with out.open("w", newline="", encoding="utf-8") as file:
            write_rows(file, header, rows)
    except OSError as error:
        raise FileError(f"cannot write {out} ({error.strerror or error}): name another file") from error
