"""Sums over users of the gains of candidates, on outputs made by hand."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from tegu.core.calibration.evaluate_candidates import TrialOutputs, evaluate_candidates
from tegu.core.calibration.evaluation_request import CandidateSet
from tegu.core.data.spec import Spec
from tegu.core.metrics import METRICS
from tegu.core.sampling.trials import Trial, Trials, user_trials

SPEC = Spec.classification((1,), 2)
ROWS, USERS, DRAWS = 6, 300, 5
MANIFEST: Any = SimpleNamespace(unadapted={"steps": 0.0}, guarded=False)


def trials(*, known: bool = True) -> Trials:
    """All labels are 1, and x is a random number of each row."""
    rng, found = np.random.default_rng(0), list[Trial]()
    for user in range(USERS):
        x = rng.random((ROWS, 1)).astype(np.float32)
        found += user_trials(user, str(user), x, np.ones(ROWS, np.int64), None, spec=SPEC, k=1, seed=0, draws=DRAWS)
    return Trials(SPEC, 1, [each if known else each._replace(units=None) for each in found])


def attempt(given: Trials, knobs: Any) -> TrialOutputs:
    """Half of all rows are right without adapting; adapting changes the answers to others, so that nobody gains."""
    hits = [(trial.query.x[:, 0] * (10 if knobs["steps"] else 1)) % 1 > 0.5 for trial in given.trials]
    return TrialOutputs([np.stack([~hit, hit], 1).astype(np.float32) for hit in hits], {})


@pytest.mark.parametrize("known", [True, False])
def test_chance_is_taken_from_squared_gains(known: bool) -> None:
    question = CandidateSet(1, [{"steps": 1.0}], "gains", draws=DRAWS)
    (sums,) = evaluate_candidates(question, MANIFEST, trials(known=known), METRICS["accuracy"], attempt).sums
    squared, lasting, fourths = sums[1] / USERS, sums[7] / USERS, sums[8] / USERS
    assert squared == pytest.approx(0.5 / ROWS, rel=0.3), "the variance of a mean of six differences of two coins"
    if not known:
        assert lasting == squared, "nobody knows which rows are the same in other draws"
        return
    assert abs(lasting) < 2 * np.sqrt(fourths / USERS)
    assert abs(lasting) < squared / 3


def test_gains_of_trials_without_known_rows_are_the_same() -> None:
    question = CandidateSet(1, [{"steps": 1.0}], "gains", draws=DRAWS)
    one, other = (
        evaluate_candidates(question, MANIFEST, trials(known=known), METRICS["accuracy"], attempt).sums[0, :7]
        for known in (True, False)
    )
    np.testing.assert_allclose(one, other)
