"""Predictions of many users after adapting each: the only place where simulation adapts and predicts for evaluation."""

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

__all__ = ["Method", "adapt_and_predict", "adapted_predictions", "score"]

Method: TypeAlias = Callable[[Trials], Sequence[Array]]
"""From trials to the outputs of each trial, in their order."""

_TRIALS = 256  # trials per batch: each may hold scores of a whole catalogue, which must fit into memory


def adapt_and_predict(engine: Engine, meta: Tree, knobs: Knobs, trials: Trials) -> TrialOutputs:
    """Adapt `meta` to each trial's support with `knobs`, then predict for its query.

    With the learner's `unadapted` knobs, predictions are those of the initialisation. As on a device, a user whose
    state is not finite gets the unadapted state.
    """
    supports, inputs = stacked_supports(trials), stacked_inputs(trials)
    noise = stacked_noise(trials, engine.manifest.noise)
    rows = None if trials.spec.kind == "ranking" else [len(trial.query.mask) for trial in trials.trials]
    outputs, scalars = list[Array](), list[dict[str, Array]]()
    for start in range(0, len(inputs), _TRIALS):
        batch = slice(start, start + _TRIALS)
        states = _finite_states(engine, meta, users_in(supports, batch), knobs, noise[batch])
        outputs.extend(engine.predict(meta, states, inputs[batch], None if rows is None else rows[batch]))
        scalars.append({name: value for name, value in states.items() if value.ndim == 1})
    return TrialOutputs(outputs, {name: np.concatenate([each[name] for each in scalars]) for name in scalars[0]})


def adapted_predictions(engine: Engine, meta: Tree, knobs: Knobs) -> Method:
    """A method that adapts `meta` with `knobs` and predicts; see `adapt_and_predict`."""
    return lambda trials: adapt_and_predict(engine, meta, knobs, trials).outputs


def _finite_states(engine: Engine, meta: Tree, supports: NumpyBatch, knobs: Knobs, noise: Array) -> Tree:
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
    """Float64 `[users]`, the metric of the method for each user."""
    return user_scores(trials, method(trials), metric)
