"""One held-out user as files."""

from __future__ import annotations

import csv
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from tests.sim import people

from tegu.core.data.spec import Spec
from tegu.sim.data.population import Population
from tegu.sim.reporting.example_person import CLICKS, write_example_person

ITEMS = 60
TITLES = [f'Film "{item}", the' for item in range(ITEMS)]


def run_with(*clicks: int) -> Any:
    """Return a run whose held-out users have these numbers of clicks, all on different items."""
    rng = np.random.default_rng(0)
    items = np.concatenate([rng.permutation(ITEMS)[:count] for count in clicks])
    users = np.repeat(np.arange(len(clicks)), clicks)
    heldout = Population.from_arrays(items, np.ones(len(items)), users, Spec.ranking(ITEMS))
    return SimpleNamespace(split=SimpleNamespace(heldout=heldout), plan=people.plan())


def written(run: Any, folder: Path) -> dict[str, list[int]]:
    write_example_person(run, TITLES, folder)
    found = {}
    for path in folder.iterdir():
        header, *rows = list(csv.reader(path.read_text().splitlines()))
        assert header == ["item", "title"]
        assert all(title == TITLES[int(item)] for item, title in rows)
        found[path.name] = [int(item) for item, _ in rows]
    assert set(found) == {"person.csv", "person_later.csv", "titles.csv"}
    assert found["titles.csv"] == list(range(ITEMS))
    return found


@pytest.mark.parametrize(("clicks", "chosen"), [((5, 50, 22, 30, 20, 40), 5), ((21, 3), 0), ((4, 9, 20), 2)])
def test_the_user_has_the_median_number_of_clicks(tmp_path: Path, clicks: tuple[int, ...], chosen: int) -> None:
    """The median is over users with more than twenty clicks; without any, the most active user is taken."""
    run = run_with(*clicks)
    found = written(run, tmp_path)
    own = run.split.heldout.rows(chosen)[0].tolist()
    assert len(found["person.csv"]) == CLICKS
    assert sorted(found["person.csv"] + found["person_later.csv"]) == sorted(own)


def test_users_with_fewer_than_five_clicks(tmp_path: Path) -> None:
    found = written(run_with(2, 3), tmp_path)
    assert (len(found["person.csv"]), len(found["person_later.csv"])) == (2, 1)
