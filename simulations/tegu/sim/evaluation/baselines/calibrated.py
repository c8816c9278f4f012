"""Methods of a run's learner whose schedule is calibrated as the run's own is."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

from tegu.core.bundle.manifest import Knobs, knobs_for
from tegu.sim.calibration.calibrate import calibrate
from tegu.sim.engine.predictions import Method, adapted_predictions
from tegu.sim.evaluation.baselines.generic import Start

__all__ = ["calibrated"]


def calibrated(start: Start, candidates: Sequence[Knobs] | None = None) -> Callable[[int], Method]:
    """The start's learner with a schedule of its own.

    Args:
        start: learner, parameters and users that calibrate.
        candidates: knobs to choose among; None for those of the learner.
    """
    run, engine = start.run, start.engine
    manifest = engine.manifest if candidates is None else replace(engine.manifest, candidates=tuple(candidates))
    trying = replace(engine, manifest=manifest)
    entries = calibrate(trying, start.evaluators, run.ks, run.metric, run.plan.seed, run.plan.calibration.limits)
    chosen = replace(manifest, schedule=entries)
    return lambda k: adapted_predictions(engine, start.meta, knobs_for(chosen, k))  # as a device chooses them
