"""The zoo as a page of the documentation."""

from __future__ import annotations

from pathlib import Path

from tests.zoo.catalogue import GROUPS, ZOO
from tests.zoo.entry import Entry

__all__ = ["PAGE", "page"]

PAGE = Path(__file__).resolve().parents[2] / "docs" / "models.md"
_INTRODUCTION = """\
# Models that work

The tests take each of these small models through training, a bundle and a device, and compare it with plain torch.
{working} of {total} work. Every other one is refused when the learner is built or compiled.
The error has the words in the table.

`WRITE_PAGE=1 pytest tests/zoo/test_table.py` writes this page from the table in `tests/zoo/`.
"""


def page() -> str:
    """The text of the page."""
    working = sum(entry.refused is None for entry in ZOO.values())
    parts = [_INTRODUCTION.format(working=working, total=len(ZOO))]
    for group, entries in GROUPS.items():
        parts += [f"## {group}\n", "| model | input | |\n|---|---|---|", *map(_row, entries), ""]
    return "\n".join(parts)


def _row(entry: Entry) -> str:
    field = entry.spec.x
    shape = " x ".join(map(str, field.shape)) or "one"
    rows = f"{shape} {'ids' if field.dtype == 'int64' else 'numbers'}"
    outcome = "works" if entry.refused is None else f'refused: "{entry.refused}"'
    return f"| {entry.name} | {rows} | {outcome} |"
