"""Choosing, for each number of interactions, how to adapt: what gains most and hurts hardly any calibration user."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

from tegu.core.batch import Array
from tegu.core.manifest import Knobs, ScheduleEntry
from tegu.core.tree import Tree
from tegu.learners.learner import Learner
from tegu.sim.blend import believe, blended, trust
from tegu.sim.criterion import choose
from tegu.sim.engine import Engine
from tegu.sim.evaluate import answers, tolerance
from tegu.sim.familiar import support_losses
from tegu.sim.metrics import Metric
from tegu.sim.population import Population
from tegu.sim.trials import DRAWS, Trials, draw_trials, per_trial

__all__ = ["calibrate"]

_WEIGHTS = (0.25, 0.5, 0.75, 1.0)
_GUARDS = (2.0, 4.0, 0.0)  # the gentlest first
_FEW = 10  # so many users cannot show that one in twenty is hurt: the guard is not left to choice


class _Option(NamedTuple):
    """A way to adapt, and the answers it gives; `[trials]`."""

    knobs: Knobs
    outputs: Sequence[Array]


def calibrate(
    engine: Engine, meta: Tree, learner: Learner, people: Population, ks: Sequence[int], metric: Metric, seed: int
) -> tuple[ScheduleEntry, ...]:
    """For each k the way to adapt that `choose` takes, or none.

    A k that no calibration user has enough rows for is left out.

    Args:
        engine: runs the learner.
        meta: the initialisation.
        learner: its candidates are tried. Corrections (`weight`, `guard`) are blended and guarded here, so that a
            candidate is computed once for all weights.
        people: calibration users, never the held-out ones.
        ks: numbers of interactions.
        metric: what to judge by.
        seed: decides the trials.
    """
    return tuple(
        _entry(engine, meta, learner, draw_trials(people, k, seed), metric)
        for k in sorted(set(ks))
        if (people.most >= k).any()
    )


def _entry(engine: Engine, meta: Tree, learner: Learner, trials: Trials, metric: Metric) -> ScheduleEntry:
    still = {**learner.knobs, "steps": 0.0}
    before = answers(engine, meta, still, trials)
    scores = per_trial(trials, before.outputs, metric)
    within = tolerance(trials, before.outputs, metric)
    options = list(_options(engine, meta, learner, trials, before.outputs))
    gains = [_by_user(metric.gain(per_trial(trials, option.outputs, metric), scores)) for option in options]
    chosen = choose(gains, within)
    knobs = still if chosen.option is None else options[chosen.option].knobs
    return ScheduleEntry(trials.k, knobs, chosen.gain, chosen.spread, support_losses(engine, meta, still, trials))


def _by_user(values: Array) -> Array:
    return values.reshape(-1, DRAWS)


def _options(
    engine: Engine, meta: Tree, learner: Learner, trials: Trials, before: Sequence[Array]
) -> Iterator[_Option]:
    for knobs in learner.candidates:
        if "weight" in knobs:
            yield from _corrections(engine, meta, knobs, trials, before)
        else:
            yield _Option(knobs, answers(engine, meta, knobs, trials).outputs)


def _corrections(
    engine: Engine, meta: Tree, knobs: Knobs, trials: Trials, before: Sequence[Array]
) -> Iterator[_Option]:
    """One correction, by every weight and guard."""
    kind = trials.population.spec.kind
    whole = answers(engine, meta, {**knobs, "weight": 1.0, "guard": 0.0}, trials)
    evidence = whole.notes["evidence"]
    belief = believe(kind, trials, before, whole.outputs, evidence)
    guards = _GUARDS[:1] if len(trials.trials) < _FEW * DRAWS else _GUARDS
    for weight in _WEIGHTS:
        for guard in guards:
            outputs = blended(kind, before, whole.outputs, weight * trust(belief, evidence, guard))
            yield _Option({**knobs, "weight": weight, "guard": guard, **belief._asdict()}, outputs)
