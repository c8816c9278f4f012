"""People whose taste changes half-way: sine waves that become other ones, with noise.

Everyone's first 40 interactions are of one wave of `sine`, and the next 40 of another. The server trains and
calibrates before anyone changes; then people who were held out are replayed (`tegu.sim.evaluation.drift_replay`).
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
from tegu.sim.experiments.sine import wave_experiment

__all__ = ["before_the_change", "changing_sines", "changing_waves"]

USERS, BEFORE, AFTER, QUERIES = 600, 40, 40, 50
NOISE = 0.5  # standard deviation: 0.25 of any error is the noise of the rows that judge


def changing_waves(users: int, seed: int, before: int = BEFORE, after: int = AFTER) -> Streams:
    """People of two waves each, `before` interactions of the one and then `after` of the other."""
    rng = keyed_rng("changing_sines", seed)
    amplitude, phase = rng.uniform(0.1, 5.0, (users, 2, 1)), rng.uniform(0.0, np.pi, (users, 2, 1))

    def rows(number: int) -> tuple[Array, Array]:
        """`x` `[users, number]`, and `y` `[users, 2, number]` by either wave."""
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


def before_the_change(streams: Streams) -> Population:
    """Everyone's interactions of the old taste: what there is when the server trains."""
    x, y = (part[:, : streams.change].reshape(-1, 1) for part in (streams.x, streams.y))
    return Population.from_arrays(x, y, np.repeat(streams.users, streams.change), Spec.regression((1,)))


def changing_sines(*, seed: int, rounds: int | None = None, cohort: int | None = None) -> Experiment:
    """The experiment; trained as `sine`, for fewer rounds."""
    streams = changing_waves(USERS, seed)
    people = before_the_change(streams)
    return replace(
        wave_experiment("changing_sines", people, seed=seed, rounds=rounds or 400, cohort=cohort), streams=streams
    )
