"""Baselines that adapt by plain gradient steps; steps and step size are chosen for each k."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from tegu.core.bundle.manifest import STEPS, Knobs
from tegu.core.data.tree import Tree
from tegu.core.metrics import Metric
from tegu.learners.algorithms.reptile import reptile
from tegu.learners.learner import Learner
from tegu.sim.engine import Engine
from tegu.sim.engine.predictions import Method, adapted_predictions
from tegu.sim.evaluation.baselines.tuning import Judge, choose_per_k
from tegu.sim.training.cross_fitting import Evaluator

__all__ = ["adapted_by_steps", "gradient_learner"]

_KNOBS = {STEPS, "lr", "prior"}
_STEPS = (1.0, 5.0, 20.0)
_RATE_FACTORS = (0.1, 0.3, 1.0, 3.0, 10.0)  # of the step size that the learner itself has
_FINALISTS = 4


def gradient_learner(learner: Learner) -> Learner | None:
    """The learner that adapts by gradient steps from the same parameters: the one that trained them, or Reptile.

    None if the learner does neither train by gradient steps nor know its module.
    """
    for each in (learner.gradient_learner, learner):
        if each is not None and set(each.knobs) == _KNOBS:
            return each
    if learner.source is None:
        return None
    return reptile(learner.source.module, learner.spec, loss=learner.source.loss)


def adapted_by_steps(
    engine: Engine, meta: Tree, evaluators: Sequence[Evaluator], metric: Metric
) -> Callable[[int], Method]:
    """Gradient steps from `meta`, as many and as long as are best for the evaluators' users at each k, or none.

    Args:
        engine: runs a learner that adapts by gradient steps.
        meta: parameters that held-out users start from.
        evaluators: parameters of the same kind, with users that had no part in training them.
        metric: that is to be best.
    """
    knobs, unadapted = engine.manifest.knobs, engine.manifest.unadapted
    grid = [
        {**knobs, STEPS: steps, "lr": knobs["lr"] * factor, "prior": 0.0}
        for steps in _STEPS
        for factor in _RATE_FACTORS
    ]

    def judge(evaluator: Evaluator) -> Judge[Knobs]:
        return Judge(evaluator.population, lambda tried: adapted_predictions(engine, evaluator.meta, tried))

    chosen = choose_per_k([judge(each) for each in evaluators], [unadapted, *grid], metric, _FINALISTS)
    return lambda k: adapted_predictions(engine, meta, chosen(k))
