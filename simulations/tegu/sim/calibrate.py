"""Choosing how hard to adapt for each number of interactions, on calibration users."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from tegu.core.manifest import Knobs, ScheduleEntry
from tegu.core.tree import Tree
from tegu.sim.engine import Engine
from tegu.sim.evaluate import adapted, score
from tegu.sim.metrics import Metric
from tegu.sim.population import Population
from tegu.sim.trials import draw_trials

__all__ = ["RATES", "calibrate", "candidates"]

RATES = (0.25, 0.5, 0.75, 1.0, 1.5, 2.0, 4.0)


def candidates(knobs: Knobs) -> list[Knobs]:
    """No step at all, then the learner's own steps at several multiples of its step size."""
    return [{**knobs, "steps": 0.0}, *({**knobs, "lr": knobs["lr"] * rate} for rate in RATES)]


def calibrate(
    engine: Engine, meta: Tree, knobs: Knobs, people: Population, ks: Sequence[int], metric: Metric, seed: int
) -> tuple[ScheduleEntry, ...]:
    """For each k the candidate with the best mean metric over calibration users; the gentler one where two are equal.

    A k that no calibration user has enough rows for is left out.

    Args:
        engine: runs the learner.
        meta: the initialisation.
        knobs: the learner's own.
        people: calibration users, never the held-out ones.
        ks: numbers of interactions.
        metric: what to judge by.
        seed: decides the trials.
    """
    entries = []
    for k in sorted(set(ks)):
        if not (people.counts > k).any():
            continue
        trials = draw_trials(people, k, seed)
        sign = 1 if metric.higher_is_better else -1
        options = candidates(knobs)
        means = [sign * float(score(adapted(engine, meta, option), trials, metric).mean()) for option in options]
        # A step size that diverges gives NaN, which must not win.
        best = int(np.argmax(np.nan_to_num(means, nan=-np.inf)))
        entries.append(ScheduleEntry(k, options[best]))
    return tuple(entries)
