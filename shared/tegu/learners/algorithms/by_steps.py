"""Learners that adapt a module's parameters by steps on the support, and train by the gradient of an objective."""

from __future__ import annotations

from collections.abc import Mapping

from tegu.core.bundle.manifest import STEPS
from tegu.core.data.spec import Spec
from tegu.learners.inner_loop.adaptable import Adaptable
from tegu.learners.inner_loop.query_gradient import Objective, summed_update_of, update_of
from tegu.learners.learner import CalibrationOptions, Execution, Iterated, Learner, RecommendedTraining

__all__ = ["TRAINING", "learner_by_steps", "step_size_candidates"]

TRAINING = RecommendedTraining("Adam", 3e-3, decay=True)
"""Adam on the mean query gradient, as in MAML's paper; a larger step size than its 1e-3, for hundreds of rounds."""

_RATE_FACTORS = (0.25, 0.5, 0.75, 1.0, 1.5, 2.0, 4.0)


def step_size_candidates(
    ready: Adaptable, knobs: Mapping[str, float], factors: tuple[float, ...] = _RATE_FACTORS
) -> CalibrationOptions:
    """Calibration tries multiples of the step size, the knob `lr`, and a single larger step; the smaller moves first.

    Where training takes several steps, its rule may prepare for fewer: Reptile's last gradient moves the
    initialisation, and nothing says what is good after a step along it.
    """
    tried = [{**knobs, "lr": knobs["lr"] * factor} for factor in factors]
    if knobs[STEPS] > 1:
        tried += [{**knobs, STEPS: 1.0, "lr": knobs["lr"] * factor} for factor in factors if factor >= 1]
    candidates = sorted(tried, key=lambda each: (each[STEPS] * each["lr"], each[STEPS]))
    return CalibrationOptions(candidates=candidates, row_losses=ready.row_losses)


def learner_by_steps(
    name: str,
    paper: str,
    spec: Spec,
    ready: Adaptable,
    knobs: Mapping[str, float],
    adapt: Iterated,
    objective: Objective,
    calibration: CalibrationOptions,
    *,
    summed: bool = True,
) -> Learner:
    """The learner of an algorithm; a field that differs, such as `init`, is replaced in the result.

    Args:
        name: the name in `LEARNERS`.
        paper: the publication it follows.
        spec: the model's inputs and outputs.
        ready: the module.
        knobs: default knobs, with `steps`.
        adapt: repeats the step.
        objective: see `query_gradient`; all that is not fixed follows its gradient.
        calibration: which knobs calibration may try.
        summed: whether many users' updates can be summed by one gradient.
    """
    return Learner(
        name=name,
        paper=paper,
        spec=spec,
        adapted_parameters=ready.adapted,
        knobs=knobs,
        unadapted={**knobs, "steps": 0.0},
        init=ready.init,
        adapt=adapt,
        predict=lambda meta, state, x: ready.output(meta | state, x),
        update=update_of(objective, ready.fixed),
        calibration=calibration,
        execution=Execution(
            summed_update=summed_update_of(objective, ready.fixed) if summed else None, order_invariant=True
        ),
        fixed_parameters=ready.fixed,
        source=ready.source,
        recommended=TRAINING,
    )
