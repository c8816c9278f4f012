"""Baselines of a population whose rows have an order: what the order is worth, and what ignoring it costs."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from tegu.core.data.batch import Array
from tegu.core.data.tree import Tree
from tegu.core.sampling.trials import Trials
from tegu.server.progress import Progress
from tegu.sim.engine.predictions import Method, adapted_predictions
from tegu.sim.evaluation.baselines.calibrated import calibrated
from tegu.sim.evaluation.baselines.generic import Start
from tegu.sim.evaluation.baselines.tuning import Judge, choose_per_k, for_every_k

__all__ = ["last_choice", "order_baselines", "shrunk_frequencies"]

_PSEUDO_ROWS = (0.1, 0.25, 0.5, 1.0, 2.0, 4.0, 8.0, 16.0)
_RECENCY = "recency"


def order_baselines(start: Start, progress: Progress) -> dict[str, Callable[[int], Method]]:
    """The baselines that an order suggests; none for a population without one.

    - `without_order`: the run's initialisation and learner, calibrated among the knobs that ignore the order. Present
      if the learner has others.
    - `own_frequencies`: for labels, a person's frequencies, shrunk toward the initialisation's probabilities.
    - `last_choice`: for labels, the person's last label again.

    Args:
        start: what they start from.
        progress: receives a stage for each.
    """
    found: dict[str, Callable[[int], Method]] = {}
    if start.run.split.train.order is None:
        return found
    if _RECENCY in start.learner.knobs:
        progress.stage("without_order: calibrated among the knobs that ignore the order of rows")
        ignoring = [each for each in start.engine.manifest.candidates if not each[_RECENCY]]
        found["without_order"] = calibrated(start, ignoring)
    if start.learner.spec.kind == "classification":
        progress.stage("own_frequencies, last_choice: from a person's labels alone")
        found["own_frequencies"] = _own_frequencies(start)
        found["last_choice"] = for_every_k(last_choice)
    return found


def _own_frequencies(start: Start) -> Callable[[int], Method]:
    def method(meta: Tree) -> Callable[[float], Method]:
        base = adapted_predictions(start.engine, meta, start.learner.unadapted)
        return lambda pseudo_rows: lambda trials: shrunk_frequencies(base(trials), trials, pseudo_rows)

    judges = [Judge(users, method(meta)) for meta, users in start.evaluators]
    chosen = choose_per_k(judges, _PSEUDO_ROWS, start.run.metric)
    fitted = method(start.meta)
    return lambda k: fitted(chosen(k))


def shrunk_frequencies(base: Sequence[Array], trials: Trials, pseudo_rows: float) -> Sequence[Array]:
    """Log-probabilities `[rows, classes]` for each trial: `pseudo_rows` rows count as the initialisation expects."""
    found = []
    for outputs, trial in zip(base, trials.trials, strict=True):
        counts = np.bincount(trial.support.y, minlength=outputs.shape[1])
        found.append(np.log((counts + pseudo_rows * np.exp(outputs)) / (counts.sum() + pseudo_rows)))
    return found


def last_choice(trials: Trials) -> Sequence[Array]:
    """Scores `[rows, classes]` for each trial: those of the label of the support's newest row."""
    classes = np.eye(trials.spec.outputs)
    return [
        np.broadcast_to(np.log(classes[trial.support.y[-1]] + 1e-6), (len(trial.query.y), len(classes)))
        for trial in trials.trials
    ]
