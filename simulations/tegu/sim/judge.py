"""The curve: a run and its baselines on held-out people, the same supports for every method."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from tegu.core.batch import Array
from tegu.sim.evaluate import Method, curve_entry, score
from tegu.sim.run import Run
from tegu.sim.trials import draw_trials

__all__ = ["Judgement", "judge"]


class Judgement(NamedTuple):
    """Results on held-out people.

    Attributes:
        curve: an entry for each k, as in `metrics.json`.
        gains: by k, `[users]` how much better each person's metric is for adapting.
    """

    curve: list[dict[str, Any]]
    gains: dict[int, Array]


def judge(run: Run, baselines: Mapping[str, Callable[[int], Method]]) -> Judgement:
    """Judge a run on its held-out users.

    Args:
        run: what to judge.
        baselines: by name, from k to a method.
    """
    curve, gains = [], {}
    for k in run.ks:
        trials = draw_trials(run.split.heldout, k, run.plan.seed + 1)
        methods = {"initialisation": run.initialisation(), "personalised": run.personalised(k)}
        methods |= {name: method(k) for name, method in baselines.items()}
        scores = {name: score(method, trials, run.metric) for name, method in methods.items()}
        curve.append(curve_entry(k, run.metric, scores))
        gains[k] = run.metric.gain(scores["personalised"], scores["initialisation"])
    return Judgement(curve, gains)
