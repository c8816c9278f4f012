"""Users whose preferences change half-way: each user's sine wave is replaced by another, with noise.

A user's first 40 interactions come from one wave of the experiment `sine`, and the next 40 from another. The server
trains and calibrates before the change. Then held-out users are replayed (`tegu.sim.evaluation.drift_replay`).
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from tegu.core.data.batch import Array
from tegu.core.data.spec import Spec
from tegu.core.sampling.keyed_random import keyed_rng
from tegu.sim.data.population import Population
from tegu.sim.data.streams import Streams
from tegu.sim.experiments.experiment import Experiment
from tegu.sim.experiments.sine import sine_experiment

__all__ = ["changing_sine_streams", "changing_sines", "population_before_change"]

USERS, BEFORE, AFTER, QUERIES = 600, 40, 40, 50
NOISE = 0.5  # standard deviation; the noise of the query rows adds 0.25 to every error


def changing_sine_streams(users: int, seed: int, before: int = BEFORE, after: int = AFTER) -> Streams:
    """Return users with `before` interactions from one wave, then `after` from another."""
    rng = keyed_rng("changing_sines", seed)
    amplitude, phase = rng.uniform(0.1, 5.0, (users, 2, 1)), rng.uniform(0.0, np.pi, (users, 2, 1))

    def rows(number: int) -> tuple[Array, Array]:
        """Return `x` `[users, number]` and `y` `[users, 2, number]`, the targets by either wave."""
        x = rng.uniform(-5.0, 5.0, (users, number))
        noise = rng.normal(0.0, NOISE, (users, 2, number))
        return x, amplitude * np.sin(x[:, None] + phase) + noise

    (x, both), (query_x, query_y) = rows(before + after), rows(QUERIES)
    y = np.where(np.arange(before + after) < before, both[:, 0], both[:, 1])

    def column(values: Array) -> Array:
        return values[..., None].astype(np.float32)

    return Streams(
        users=np.arange(users),
        x=column(x),
        y=column(y),
        steady_y=column(both[:, 0]),
        query_x=column(query_x),
        query_y=column(query_y),
        change=before,
    )


def population_before_change(streams: Streams) -> Population:
    """Return the interactions before the change, on which the server trains."""
    x, y = (rows[:, : streams.change].reshape(-1, 1) for rows in (streams.x, streams.y))
    return Population.from_arrays(x, y, np.repeat(streams.users, streams.change), Spec.regression((1,)))


def changing_sines(*, seed: int, rounds: int | None = None, cohort: int | None = None) -> Experiment:
    """Build the experiment; it trains as `sine` does, for fewer rounds."""
    streams = changing_sine_streams(USERS, seed)
    population = population_before_change(streams)
    return replace(
        sine_experiment("changing_sines", population, seed=seed, rounds=rounds or 400, cohort=cohort), streams=streams
    )
