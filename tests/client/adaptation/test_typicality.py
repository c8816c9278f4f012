"""Whether a user resembles the users a bundle was calibrated on, as a device determines it."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from tests.client.graphs import linear_bundle, linear_predict, linear_rows, ranking_bundle

from tegu.client import Personalizer
from tegu.client.adaptation.typicality import atypical_note, typicality
from tegu.core.bundle.manifest import ScheduleEntry
from tegu.core.data.batch import Array, full_batch

X, Y = linear_rows(9)
BUNDLE = linear_bundle()


def own_loss(rows: int) -> float:
    """Of the newest rows, under the initialisation."""
    return float(np.square(linear_predict(BUNDLE.meta, X[-rows:]) - Y[-rows:]).mean())


def schedule(*losses: float, steps: int = 3) -> tuple[ScheduleEntry, ...]:
    return (ScheduleEntry(2, {"steps": steps}), ScheduleEntry(4, {"steps": steps}, 0.0, 0.0, losses))


@pytest.mark.parametrize("steps", [0, 3])
def test_the_newest_interactions_are_compared_with_as_many_of_others(steps: int) -> None:
    own = own_loss(4)
    assert abs(own - own_loss(9)) > 0.05
    losses = (0.5 * own, 0.99 * own, 1.01 * own, 2 * own, 3 * own)
    with Personalizer.open(linear_bundle(schedule=schedule(*losses, steps=steps))) as person:
        person.observe(X, Y)
        report = person.adapt()
        assert report.typicality == pytest.approx(4 / 6)
        assert "unlike" not in report.reason
        assert person.adapt().typicality == report.typicality, "the initialisation's, not the adapted model's"


def test_an_atypical_user_is_reported() -> None:
    losses = tuple(own_loss(4) * share for share in np.linspace(0.1, 0.9, 39))
    with Personalizer.open(linear_bundle(schedule=schedule(*losses))) as person:
        person.observe(X, Y)
        report = person.adapt()
    assert report.typicality == 1 / 40
    assert report.reason == (
        "Took all 3 steps. Your interactions are unlike those of the users this model was calibrated on (p = 0.025)."
    )


def test_without_calibration_nothing_is_reported() -> None:
    for entries, rows in (((), 9), (schedule(1.0), 1), (schedule(1.0), 3), (schedule(), 9)):
        with Personalizer.open(linear_bundle(schedule=entries)) as person:
            person.observe(X[:rows], Y[:rows])
            report = person.adapt()
        assert report.typicality is None
        assert "unlike" not in report.reason


@pytest.mark.parametrize(("p", "reported"), [(None, False), (1.0, False), (0.05, False), (0.049, True)])
def test_below_one_in_twenty_is_atypical(p: float | None, reported: bool) -> None:
    assert bool(atypical_note(p)) == reported


def test_a_ranking_is_asked_for_its_whole_catalogue_once() -> None:
    bundle = ranking_bundle()
    scores = (bundle.meta["items"] @ bundle.meta["user"]).astype(np.float64)
    clicked = np.asarray([7, 1, 5])
    chances = np.exp(scores) / np.exp(scores).sum()
    own = float(-np.log(chances[clicked]).mean())
    manifest = replace(bundle.manifest, schedule=(ScheduleEntry(3, {"steps": 1}, 0.0, 0.0, (own - 0.01, own + 0.01)),))
    asked: list[Array] = []

    def predict(x: Array) -> Array:
        asked.append(x)
        return scores[x]

    batch = full_batch(np.concatenate([[0], clicked]), np.ones(4, np.float32))
    assert typicality(manifest, batch, predict) == pytest.approx(2 / 3)
    assert len(asked) == 1
    with Personalizer.open(replace(bundle, manifest=manifest)) as person:
        person.observe([0, *clicked])
        assert person.adapt().typicality == pytest.approx(2 / 3)
