"""The report of a correction: its numbers come from the schedule and from the state."""

from __future__ import annotations

from dataclasses import asdict, replace

import numpy as np
import pytest
from torch import nn

from tegu.client import Personalizer
from tegu.client.adaptation.evidence import Evidence, correction_note, evidence_from
from tegu.compile import make_bundle
from tegu.core.bundle.file import Bundle
from tegu.core.bundle.manifest import Manifest, ScheduleEntry
from tegu.core.calibration.guard import Guard
from tegu.core.data.spec import Spec
from tegu.learners.algorithms.residual_correction import residual_correction

KNOBS = {"steps": 1.0, **asdict(Guard(0.5, 0.0, 0.0, 0.0, 0.0, 1.0))}
SPEC = Spec.regression((3,), 1)
SCHEDULE = (ScheduleEntry(2, {"steps": 1.0}, 0.5, 0.25), ScheduleEntry(8, {"steps": 1.0}, 0.75, 0.125))


def manifest(*entries: ScheduleEntry, guarded: bool = True) -> Manifest:
    return Manifest("residual_correction", "", SPEC, (), KNOBS, {**KNOBS, "steps": 0.0}, entries, guarded=guarded)


@pytest.mark.parametrize(("interactions", "gain"), [(1, None), (2, (0.5, 0.25)), (7, (0.5, 0.25)), (9, (0.75, 0.125))])
def test_the_gain_is_that_of_users_with_as_many_interactions(interactions, gain):
    state = {"loo_improvement": np.float32(0.25), "shrinkage": np.float32(0.5)}
    assert evidence_from(manifest(*SCHEDULE), state, KNOBS, interactions) == (gain, 0.25, 0.25)
    assert evidence_from(manifest(*SCHEDULE, guarded=False), state, KNOBS, interactions) == (gain, None, None)


def test_the_note_states_the_numbers():
    assert correction_note(Evidence((0.0123, 0.03), 0.21, 0.625), 5) == (
        "Calibration users with as many interactions gained 0.0123 +- 0.03. "
        "Leave-one-out error on your 5 interactions improves by 0.21. 62% of the correction is applied."
    )
    assert correction_note(Evidence(None, -0.21, 0.0), 5) == (
        "Leave-one-out error on your 5 interactions worsens by 0.21. "
        "None of the correction is applied, so the initialisation is used unchanged."
    )
    assert correction_note(Evidence(None, 0.0, 0.0), 1) == (
        "One interaction is too few for a leave-one-out error. "
        "None of the correction is applied, so the initialisation is used unchanged."
    )


@pytest.fixture(scope="module")
def bundle() -> Bundle:
    learner = residual_correction(nn.Sequential(nn.Linear(3, 8), nn.Tanh(), nn.Linear(8, 1)), SPEC, init="fresh")
    made = make_bundle(learner, learner.init(0))
    knobs = {**learner.knobs, "mix": 1.0, "ridge": 0.1, "weight": 1.0, "guard": 4.0, "slope": 1.0, "residual_sd": 0.1}
    schedule = (ScheduleEntry(1, {**knobs, "intercept": 0.0}, 0.5, 0.25),)
    return replace(made, manifest=replace(made.manifest, schedule=schedule, window=0))


def test_evidence_decides_on_the_device_and_is_reported(bundle):
    rng = np.random.default_rng(0)
    x = rng.normal(size=(12, 3)).astype(np.float32)
    with Personalizer.open(bundle) as person:
        before = person.predict(x)
        person.observe(x[:1], before[:1] + 1)
        first = person.adapt()
        np.testing.assert_array_equal(person.predict(x), before)
        assert (first.applied_share, first.calibration_gain) == (0.0, (0.5, 0.25))
        assert "None of the correction is applied" in first.reason
        person.observe(x[1:8], before[1:8] + 1)
        second = person.adapt()
        assert second.loo_improvement > 0.2
        assert second.applied_share > 0.9
        assert f"{second.applied_share:.0%} of the correction is applied" in second.reason
        after = person.predict(x)
        assert np.abs(after - before - 1).mean() < np.abs(before - before - 1).mean() / 2


def test_what_later_interactions_contradict_is_taken_back(bundle):
    """The same inputs again and again, with answers that are noise around the initialisation's."""
    rng = np.random.default_rng(1)
    x = rng.normal(size=(4, 3)).astype(np.float32)
    with Personalizer.open(bundle) as person:
        before = person.predict(x)
        person.observe(x, before + 1)
        trusted = person.adapt().applied_share
        noise = rng.normal(0, 3, (12, 1)).astype(np.float32)
        person.observe(rng.normal(size=(12, 3)).astype(np.float32), noise)
        report = person.adapt()
        assert report.applied_share < trusted / 2
        assert report.kept


def test_only_the_newest_interactions_are_adapted_on(bundle):
    assert bundle.manifest.window == 0
    limited = Bundle(replace(bundle.manifest, window=4), bundle.meta, bundle.graphs)
    x = np.random.default_rng(2).normal(size=(9, 3)).astype(np.float32)
    with Personalizer.open(limited) as person, Personalizer.open(bundle) as other:
        before = person.predict(x)
        person.observe(x, before + np.arange(9, dtype=np.float32)[:, None])
        other.observe(x[5:], before[5:] + np.arange(5, 9, dtype=np.float32)[:, None])
        assert (person.adapt().interactions, other.adapt().interactions) == (4, 4)
        assert person.count == 9
        np.testing.assert_array_equal(person.predict(x), other.predict(x))


def test_a_bundle_of_a_correction_says_how_many():
    learner = residual_correction(nn.Linear(3, 1), SPEC, init="fresh")
    assert learner.calibration.window == 256
    read = Manifest.from_json(make_bundle(learner, learner.init(0), {}).manifest.to_json())
    assert (read.window, read.guarded, read.unadapted) == (256, True, learner.unadapted)
