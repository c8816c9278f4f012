"""Adapting reads what it uses: with a window the newest interactions, however many are stored."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from tests.client.graphs import linear_bundle, linear_rows, ranking_bundle
from tests.client.stores import sql

from tegu.client import Personalizer
from tegu.core.bundle.file import Bundle
from tegu.core.errors import StoreError


def with_window(bundle: Bundle, window: int) -> Bundle:
    return replace(bundle, manifest=replace(bundle.manifest, window=window))


@pytest.mark.parametrize("half_life", [None, 5.0])
def test_the_state_is_that_of_the_newest_interactions(half_life: float | None) -> None:
    x, y = linear_rows(50)
    with (
        Personalizer.open(with_window(linear_bundle(), 10), half_life=half_life) as some,
        Personalizer.open(linear_bundle(), half_life=half_life) as all_of_ten,
    ):
        some.observe(x, y)
        all_of_ten.observe(x[-10:], y[-10:])
        assert (some.adapt().interactions, all_of_ten.adapt().interactions) == (10, 10)
        np.testing.assert_array_equal(some.predict(x), all_of_ten.predict(x))


def test_no_more_rows_are_read_than_the_window_takes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """That is what keeps the budget with 200,000 rows: their number does not matter."""
    x, y = linear_rows(5000)
    bundle = with_window(linear_bundle(), 16)
    with Personalizer.open(bundle, tmp_path / "me.db") as p:
        p.observe(x, y)
        checked = list[int]()
        sums = "tegu.client.store.records.row_checksum"
        from tegu.client.store.records import row_checksum

        monkeypatch.setattr(sums, lambda row: (checked.append(row.number), row_checksum(row))[1])
        p.adapt(budget_ms=50)
        assert checked == list(range(4985, 5001))


def test_items_that_the_bundle_lacks_are_passed_over(tmp_path: Path) -> None:
    with Personalizer.open(ranking_bundle(items=12), tmp_path / "me.db") as p:
        p.observe(np.tile([1, 2, 3], 10))
        p.observe(np.tile([10, 11], 10))
    fewer = with_window(ranking_bundle(items=6), 8)
    with Personalizer.open(fewer, tmp_path / "me.db", upgrade=True) as p:
        report = p.adapt()
        assert (report.interactions, report.unused) == (8, 20)


def test_damage_in_the_window_is_reported_and_before_it_when_all_are_read(tmp_path: Path) -> None:
    x, y = linear_rows(40)
    bundle = with_window(linear_bundle(), 10)
    with Personalizer.open(bundle, tmp_path / "me.db") as p:
        p.observe(x, y)
    for number, seen in ((5, False), (35, True)):
        with sql(tmp_path / "me.db") as connection:
            connection.execute("UPDATE interactions SET y = zeroblob(4) WHERE number = ?", (number,))
        with Personalizer.open(bundle, tmp_path / "me.db") as p:
            if seen:
                with pytest.raises(StoreError, match="2 of 40 interactions are damaged"):
                    p.adapt()
            else:
                p.adapt()
            with pytest.raises(StoreError, match="interactions are damaged"):
                p.interactions()
