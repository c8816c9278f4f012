"""Entries of the curve, on engines and numbers made by hand."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest
from tests.sim import people
from tests.sim.conftest import Tiny
from tests.sim.level_engine import META, LevelEngine, users_at_level

from tegu.core.bundle.manifest import Knobs
from tegu.core.data.batch import Array, NumpyBatch
from tegu.core.data.spec import Spec
from tegu.core.data.tree import Tree
from tegu.core.metrics import METRICS
from tegu.core.sampling.trials import Trials, tolerance
from tegu.sim.data.population import Population
from tegu.sim.data.trials import draw_trials
from tegu.sim.engine.predictions import adapted_predictions, score
from tegu.sim.evaluation.bootstrap import mean_interval
from tegu.sim.evaluation.curve import curve_entry

KNOBS = {"steps": 2.0, "lr": 1.0}
MSE = METRICS["mse"]


# --- an entry of the curve ----------------------------------------------------------------------------------------


def test_an_entry_by_hand() -> None:
    before = np.linspace(0.5, 0.69, 20)
    gain = np.asarray([-0.3, -0.1, 0.0, -1e-12, *[0.1] * 16])
    allowed = np.asarray([0.3, 0.09, *[0.0] * 18])
    scores = {"personalised": before + gain, "flat": np.ones(20), "initialisation": before}
    entry = curve_entry(5, METRICS["accuracy"], scores, allowed, np.random.default_rng(0))
    low, high = mean_interval(gain, np.random.default_rng(0))
    assert entry.pop("baselines") == {"flat": 1.0}
    assert (entry.pop("k"), entry.pop("users")) == (5, 20)
    assert entry == {
        "initialisation": pytest.approx(0.595),
        "personalised": pytest.approx(0.595 + (1.6 - 0.4) / 20),
        "gain": pytest.approx(1.2 / 20),
        "gain_low": pytest.approx(low),
        "gain_high": pytest.approx(high),
        "materially_hurt": 1 / 20,  # declines by more than is allowed: the first user declines by exactly that
        "any_decline": 2 / 20,  # rounding is not harm
        "gained": pytest.approx(1.6 / 20),
        "lost": pytest.approx(0.4 / 20),
        "harm_ratio": pytest.approx(0.25),
        "squared_gain": pytest.approx((0.09 + 0.01 + 0.16) / 20),
        "lasting_squared_gain": pytest.approx((0.09 + 0.01 + 0.16) / 20),
        "harm_ratio_less_noise": pytest.approx(0.25),  # nothing is known about noise
        "worst_decile_gain": pytest.approx(-0.2),  # the mean of the worst two of twenty
    }


def test_noise_explains_losses() -> None:
    """Half of the mean square is noise; the lasting gains of a normal distribution lose as their share says."""
    rng = np.random.default_rng(0)
    gain = rng.normal(0.1, 0.1, 20_000)
    scores = {"initialisation": np.zeros(len(gain)), "personalised": gain}
    args = METRICS["accuracy"], scores, np.zeros(len(gain)), np.random.default_rng(0)
    entry = curve_entry(1, *args, lasting=np.full(len(gain), gain.mean() ** 2 + 0.05**2))
    lasting = 0.1 + 0.05 * rng.normal(size=1_000_000)
    truth = np.maximum(-lasting, 0).sum() / np.maximum(lasting, 0).sum()
    assert entry["harm_ratio_less_noise"] == pytest.approx(truth, rel=0.1)
    assert entry["harm_ratio"] > 5 * truth
    assert curve_entry(1, *args, lasting=np.zeros(len(gain)))["harm_ratio_less_noise"] == 0


def test_lower_is_better_turns_the_sign() -> None:
    scores = {"initialisation": np.asarray([1.0, 2.0, 3.0]), "personalised": np.asarray([0.5, 2.5, 1.0])}
    entry = curve_entry(1, MSE, scores, np.asarray([0.0, 0.4, 0.0]), np.random.default_rng(0))
    assert entry["materially_hurt"] == entry["any_decline"] == pytest.approx(1 / 3)
    assert (entry["gain"], entry["worst_decile_gain"]) == (pytest.approx(2 / 3), -0.5)
    assert entry["gain_low"] < entry["gain"] < entry["gain_high"]
    other = curve_entry(1, MSE, scores, np.asarray([0.0, 0.6, 0.0]), np.random.default_rng(0))
    assert (other["materially_hurt"], other["any_decline"]) == (0, pytest.approx(1 / 3))
    assert entry["harm_ratio"] == pytest.approx(0.2)
    assert entry["gained"] - entry["lost"] == pytest.approx(entry["gain"])
    assert all(type(value) in (int, float, dict) for value in entry.values()), "JSON cannot hold numpy numbers"


@pytest.mark.parametrize(("personalised", "ratio"), [([1.0, 2.0, 3.0], 0), ([2.0, 2.0, 3.0], None)])
def test_the_harm_ratio_without_gainers(personalised: list[float], ratio: float | None) -> None:
    scores = {"initialisation": np.asarray([1.0, 2.0, 3.0]), "personalised": np.asarray(personalised)}
    entry = curve_entry(1, MSE, scores, np.zeros(3), np.random.default_rng(0))
    assert entry["harm_ratio"] == entry["harm_ratio_less_noise"] == ratio
    assert json.loads(json.dumps(entry, allow_nan=False)) == entry


@pytest.mark.parametrize(("name", "share"), [("mse", 1 / 8), ("rmse", 1 / 16)])
def test_the_tolerance_is_a_share_of_the_initialisations_error(name: str, share: float) -> None:
    """Users with 11 rows have 8 query rows at k = 3; the errors of user i's draws are i + 1, i + 2 and so on."""
    population = users_at_level(0.0, users=4, rows=11)
    trials = draw_trials(population, 3, 0)
    wrong = [1 + i // 5 + i % 5 for i in range(20)]
    outputs = [np.full((8, 1), error, np.float32) for error in wrong]
    power = 2 if name == "mse" else 1
    expected = [share * np.mean([(1 + user + draw) ** power for draw in range(5)]) for user in range(4)]
    np.testing.assert_allclose(tolerance(trials, outputs, METRICS[name]), expected)


def test_the_tolerance_is_one_correct_row_or_one_hit() -> None:
    rows = (4, 9, 30)
    user = np.repeat(np.arange(3), rows)
    labelled = Population.from_arrays(np.arange(43, dtype=np.float32)[:, None], user % 2, user)
    trials = draw_trials(labelled, 3, 0)
    outputs = [np.zeros((27, 2)) for _ in trials.trials]
    np.testing.assert_allclose(tolerance(trials, outputs, METRICS["accuracy"]), [1 / 1, 1 / 6, 1 / 27])
    ranked = Population.from_arrays(np.arange(43), np.ones(43), user, Spec.ranking(50))
    trials = draw_trials(ranked, 3, 0)
    outputs = [np.zeros(50) for _ in trials.trials]
    np.testing.assert_allclose(tolerance(trials, outputs, METRICS["recall@10"]), [1 / 1, 1 / 6, 1 / 10])


# --- states that are not finite -----------------------------------------------------------------------------------


def test_a_diverged_user_keeps_the_initialisation_as_on_a_device() -> None:
    class Some(LevelEngine):
        def adapt(self, meta: Tree, supports: NumpyBatch, knobs: Knobs, noise: Array | None = None) -> Tree:
            states = super().adapt(meta, supports, knobs)["level"].copy()
            if knobs["steps"]:
                states[1] = math.inf
            return {"level": states}

    trials = draw_trials(users_at_level(2.0), 3, 0, draws=1)
    outputs = adapted_predictions(Some(), META, KNOBS)(trials)
    assert [float(output[0, 0]) for output in outputs] == [2, 0, 2, 2, 2, 2]


def test_score_is_per_user(tiny: Tiny) -> None:
    def perfect(trials: Trials) -> list[Array]:
        return [np.eye(3)[trial.query.y] for trial in trials.trials]

    trials = draw_trials(people.people(7), 3, 0)
    assert score(perfect, trials, METRICS["accuracy"]).tolist() == [1.0] * 7
