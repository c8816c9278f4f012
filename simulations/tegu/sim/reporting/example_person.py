"""One held-out person as files, for trying a ranking bundle on: `person.csv`, `person_later.csv`, `titles.csv`."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np

from tegu.core.files import atomic_write
from tegu.sim.data.trials import draw_trials
from tegu.sim.run import Run

__all__ = ["CLICKS", "write_person"]

CLICKS = 5


def write_person(run: Run, titles: Sequence[str], folder: Path) -> None:
    """Write five clicks of a person never seen in training, what the person clicked besides, and all titles.

    The person is the held-out one with the median number of clicks among those with enough to judge by.
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
