"""Predictions of many users after adapting each: the one place where simulation adapts and predicts to be judged."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeAlias

import numpy as np

from tegu.core.bundle.manifest import Knobs
from tegu.core.calibration.evaluate_candidates import TrialOutputs
from tegu.core.data.batch import Array, NumpyBatch
from tegu.core.data.tree import Tree
from tegu.core.metrics import Metric
from tegu.core.sampling.trials import Trials, stacked_inputs, stacked_noise, stacked_supports, user_scores
from tegu.sim.engine.batches import users_in
from tegu.sim.engine.engine import Engine

__all__ = ["Method", "adapted", "answers", "score"]

Method: TypeAlias = Callable[[Trials], Sequence[Array]]

_TRIALS = 256


def answers(engine: Engine, meta: Tree, knobs: Knobs, trials: Trials) -> TrialOutputs:
    """Adapt `meta` with `knobs`, then predict; by the learner's `unadapted` it is the initialisation itself.

    As on a device, whoever's state is not finite keeps the initialisation's.
    """
    supports, inputs = stacked_supports(trials), stacked_inputs(trials)
    noise = stacked_noise(trials, engine.manifest.noise)
    outputs, notes = list[Array](), list[dict[str, Array]]()
    for start in range(0, len(inputs), _TRIALS):  # a batch's catalogues of scores have to fit into memory
        part = slice(start, start + _TRIALS)
        states = _kept(engine, meta, users_in(supports, part), knobs, noise[part])
        outputs.extend(engine.predict(meta, states, inputs[part]))
        notes.append({name: value for name, value in states.items() if value.ndim == 1})
    return TrialOutputs(outputs, {name: np.concatenate([note[name] for note in notes]) for name in notes[0]})


def adapted(engine: Engine, meta: Tree, knobs: Knobs) -> Method:
    """The method of `answers`."""
    return lambda trials: answers(engine, meta, knobs, trials).outputs


def _kept(engine: Engine, meta: Tree, supports: NumpyBatch, knobs: Knobs, noise: Array) -> Tree:
    states = engine.adapt(meta, supports, knobs, noise)
    users = len(supports.mask)
    finite = np.all([np.isfinite(state).reshape(users, -1).all(1) for state in states.values()], axis=0)
    if np.all(finite):
        return states
    initial = engine.adapt(meta, supports, engine.manifest.unadapted, noise)
    return {
        name: np.where(finite.reshape(users, *[1] * (state.ndim - 1)), state, initial[name])
        for name, state in states.items()
    }


def score(method: Method, trials: Trials, metric: Metric) -> Array:
    """`[users]`: how well the method does for each user."""
    return user_scores(trials, method(trials), metric)
