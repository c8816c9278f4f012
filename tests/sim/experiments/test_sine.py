"""The waves are those of the MAML paper, and training on some users helps with others."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from tegu.sim.evaluation.heldout import evaluate_heldout
from tegu.sim.experiments.sine import ROWS, USERS, sine, sine_population
from tegu.sim.run import run_plan


def fit_waves(users: int, rows: int, seed: int) -> tuple[np.ndarray, np.ndarray, float]:  # type: ignore[type-arg]
    """Return amplitudes, phases and the largest residual, by least squares on sin(x) and cos(x)."""
    population = sine_population(users, rows, seed)
    amplitudes, phases, worst = [], [], 0.0
    for index in range(len(population)):
        x, y = (values[:, 0].astype(np.float64) for values in population.rows(index))
        design = np.stack([np.sin(x), np.cos(x)], 1)  # a sin(x + p) = a cos(p) sin(x) + a sin(p) cos(x)
        (in_phase, out_of_phase), *_ = np.linalg.lstsq(design, y, rcond=None)
        worst = max(worst, float(np.abs(design @ [in_phase, out_of_phase] - y).max()))
        amplitudes.append(np.hypot(in_phase, out_of_phase))
        phases.append(np.arctan2(out_of_phase, in_phase))
    return np.asarray(amplitudes), np.asarray(phases), worst


def test_every_user_has_a_wave_of_the_papers_family() -> None:
    amplitudes, phases, worst = fit_waves(400, 20, seed=3)
    assert worst < 1e-5
    for values, low, high in ((amplitudes, 0.1, 5.0), (phases, 0.0, np.pi)):
        assert values.min() >= low - 1e-5
        assert values.max() <= high + 1e-5
        # Uniform between the two: the largest gap to the straight line is within Kolmogorov's 0.1% bound.
        gap = np.abs(np.sort((values - low) / (high - low)) - (np.arange(400) + 0.5) / 400).max()
        assert gap < 1.95 / np.sqrt(400)
    assert abs(np.corrcoef(amplitudes, phases)[0, 1]) < 0.2
    x = sine_population(400, 20, seed=3).x
    assert -5 <= x.min() < -4.99 < 4.99 < x.max() <= 5


def test_waves_depend_on_the_seed_alone() -> None:
    first, again, other = (sine_population(5, 4, seed) for seed in (0, 0, 1))
    assert first.y.tobytes() == again.y.tobytes()
    assert first.y.tobytes() != other.y.tobytes()
    assert (len(first), first.counts.tolist()) == (5, [4] * 5)


def test_the_settings_of_the_experiment() -> None:
    experiment = sine(seed=2, rounds=9, cohort=3)
    assert (experiment.name, experiment.metric.name, experiment.ks) == ("sine", "mse", (1, 2, 5, 10, 20))
    assert (experiment.plan.rounds, experiment.plan.cohort.size, experiment.plan.seed) == (9, 3, 2)
    assert (len(experiment.population), set(experiment.population.counts)) == (USERS, {ROWS})
    assert (experiment.learner.name, experiment.learner.execution.merges_query) == ("residual_correction", True)
    assert (sine(seed=0).plan.rounds, sine(seed=0).plan.cohort.size) == (1500, 25)


@pytest.mark.slow
def test_a_short_run_learns_to_fit_a_wave_from_a_few_points() -> None:
    """Measured with seeds 0 and 1: 3.55 -> 0.38 and 2.81 -> 0.31 at k = 5, 3.55 -> 0.17 and 2.81 -> 0.13 at k = 10."""
    experiment = sine(seed=0, rounds=150)
    calibration = replace(experiment.plan.calibration, ks=(1, 5, 10))
    run = run_plan(experiment.population, experiment.learner, replace(experiment.plan, calibration=calibration))
    curve = {entry["k"]: entry for entry in evaluate_heldout(run, {}).curve}
    assert curve[10]["users"] == 280
    assert curve[5]["personalised"] < 0.25 * curve[5]["initialisation"]
    assert curve[10]["personalised"] < 0.12 * curve[10]["initialisation"]
    assert curve[10]["any_decline"] < 0.1
    assert curve[1]["personalised"] < curve[1]["initialisation"]
