"""One held-out user as files, to try a ranking bundle on: `person.csv`, `person_later.csv`, `titles.csv`."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np

from tegu.core.files import atomic_write
from tegu.sim.data.trials import draw_trials
from tegu.sim.run_result import RunResult

__all__ = ["CLICKS", "write_example_person"]

CLICKS = 5


def write_example_person(run: RunResult, titles: Sequence[str], folder: Path) -> None:
    """Write five clicks of a held-out user, the user's other clicks, and all titles.

    The user has the median number of clicks among held-out users with at least twenty usable clicks. If there is none,
    the held-out user with the most clicks is taken.

    Args:
        run: a run of a ranking.
        titles: titles of the items, by id.
        folder: an existing folder.

    Raises:
        FileError: a file cannot be written.
    """
    heldout = run.split.heldout
    enough = np.flatnonzero(heldout.max_support >= 4 * CLICKS)
    order = enough[np.argsort(heldout.counts[enough], kind="stable")]
    person = heldout.subset([order[len(order) // 2] if len(order) else int(heldout.max_support.argmax())])
    trial = draw_trials(person, min(CLICKS, int(person.max_support[0])), run.plan.seed, draws=1).trials[0]
    for name, ids in (("person.csv", trial.support.x), ("person_later.csv", trial.query.x)):
        _write(folder / name, ("item", "title"), ((int(item), titles[int(item)]) for item in ids))
    _write(folder / "titles.csv", ("item", "title"), enumerate(titles))


def _write(path: Path, header: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(header)
    writer.writerows(rows)
    atomic_write(path, text.getvalue().encode())
