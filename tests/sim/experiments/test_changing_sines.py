"""Each user has one wave, then another; the server trains on the first."""

from __future__ import annotations

import numpy as np

from tegu.core.data.batch import Array
from tegu.sim.experiments.changing_sines import (
    NOISE,
    USERS,
    changing_sine_streams,
    changing_sines,
    population_before_change,
)
from tegu.sim.experiments.sine import sine


def fit_waves(x: Array, y: Array) -> tuple[Array, Array]:
    """Return in-phase and out-of-phase amplitudes `[users, 2]` by least squares, and residuals `[users, rows]`."""
    waves, residuals = [], []
    for own_x, own_y in zip(x[..., 0].astype(np.float64), y[..., 0].astype(np.float64), strict=True):
        design = np.stack([np.sin(own_x), np.cos(own_x)], 1)
        wave, *_ = np.linalg.lstsq(design, own_y, rcond=None)
        waves.append(wave)
        residuals.append(own_y - design @ wave)
    return np.asarray(waves), np.asarray(residuals)


def test_every_user_changes_from_one_wave_to_another() -> None:
    streams = changing_sine_streams(300, seed=3, before=60, after=50)
    assert streams.x.shape == streams.y.shape == streams.steady_y.shape == (300, 110, 1)
    parts = {
        "old": (streams.x[:, :60], streams.y[:, :60]),
        "new": (streams.x[:, 60:], streams.y[:, 60:]),
        "steady": (streams.x, streams.steady_y),
        "old, query": (streams.query_x, streams.query_y[:, 0]),
        "new, query": (streams.query_x, streams.query_y[:, 1]),
    }
    waves = {}
    for name, rows in parts.items():
        waves[name], residuals = fit_waves(*rows)
        freedom = residuals.shape[1] / (residuals.shape[1] - 2)
        assert np.isclose(np.square(residuals).mean() * freedom, NOISE**2, rtol=0.05), name
        amplitude = np.hypot(*waves[name].T)
        assert amplitude.min() < 0.6
        assert 4.6 < amplitude.max() < 5.5
        assert waves[name][:, 1].min() > -0.7, "a phase from 0 to pi has a sine of 0 or more"
    for name in ("steady", "old, query"):
        assert np.abs(waves[name] - waves["old"]).max() < 0.7, name
    assert np.abs(waves["new, query"] - waves["new"]).max() < 0.7
    assert np.abs(waves["new"] - waves["old"]).mean() > 1
    assert abs(np.corrcoef(waves["new"].T, waves["old"].T)[:2, 2:]).max() < 0.2, (
        "the new wave is independent of the old one"
    )
    np.testing.assert_array_equal(streams.y[:, :60], streams.steady_y[:, :60])


def test_streams_depend_on_the_seed_alone() -> None:
    first, again, other = (changing_sine_streams(5, seed) for seed in (0, 0, 1))
    for name in ("x", "y", "steady_y", "query_x", "query_y"):
        same, twin, different = (getattr(streams, name) for streams in (first, again, other))
        assert same.tobytes() == twin.tobytes() != different.tobytes()
        assert same.dtype == np.float32


def test_the_server_trains_on_interactions_before_the_change() -> None:
    streams = changing_sine_streams(7, seed=0, before=4, after=3)
    population = population_before_change(streams)
    assert population.users.tolist() == streams.users.tolist()
    for user in range(7):
        x, y = population.rows(user)
        np.testing.assert_array_equal(x, streams.x[user, :4])
        np.testing.assert_array_equal(y, streams.y[user, :4])


def test_the_settings_of_the_experiment() -> None:
    experiment = changing_sines(seed=2, rounds=9, cohort=3)
    assert (experiment.name, experiment.metric.name, experiment.ks) == ("changing_sines", "mse", (1, 2, 5, 10, 20))
    assert (experiment.plan.rounds, experiment.plan.cohort.size, experiment.plan.seed) == (9, 3, 2)
    assert experiment.streams is not None
    assert experiment.streams.y.tobytes() == changing_sine_streams(USERS, 2).y.tobytes()
    assert experiment.population.x.tobytes() == population_before_change(experiment.streams).x.tobytes()
    like = sine(seed=2)
    assert (experiment.learner.name, experiment.plan.episodes) == (like.learner.name, like.plan.episodes)
    assert changing_sines(seed=0).plan.rounds == 400
