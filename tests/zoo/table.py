"""The zoo as a page of the documentation."""

from __future__ import annotations

from pathlib import Path

from tests.zoo.catalogue import GROUPS, ZOO
from tests.zoo.entry import Entry
from tests.zoo.selection import LIKE, SUITE

__all__ = ["PAGE", "page"]

PAGE = Path(__file__).resolve().parents[2] / "docs" / "models.md"
_INTRODUCTION = """\
# Models that work

Each of these small models is taken through training, a bundle and a device, and compared with plain torch.
{working} of {total} work. Every other one is refused when the learner is built or compiled.
The error has the words in the table.

The test suite (`make test`) runs {suite} of them. The table calls these *suite*.
Each of the others is like one of the suite's, which the table names: they reach much the same code of the compiler.
`make zoo` runs all {total} models, and compares this page with the table in `tests/zoo/`.
`WRITE_PAGE=1 pytest tests/zoo/test_table.py` writes the page.
"""


def page() -> str:
    """The text of the page."""
    working = sum(entry.refused is None for entry in ZOO.values())
    parts = [_INTRODUCTION.format(working=working, total=len(ZOO), suite=len(SUITE))]
    for group, entries in GROUPS.items():
        parts += [f"## {group}\n", "| model | input | | checked by |\n|---|---|---|---|", *map(_row, entries), ""]
    return "\n".join(parts)


def _row(entry: Entry) -> str:
    field = entry.spec.x
    shape = " x ".join(map(str, field.shape)) or "one"
    rows = f"{shape} {'ids' if field.dtype == 'int64' else 'numbers'}"
    outcome = "works" if entry.refused is None else f'refused: "{entry.refused}"'
    checked = f"`make zoo`, like {LIKE[entry.name]}" if entry.name in LIKE else "suite"
    return f"| {entry.name} | {rows} | {outcome} | {checked} |"
