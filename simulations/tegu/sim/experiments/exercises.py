"""Shoulder exercises seen by a watch: `watch_dataset` of the seglearn package.

Ten people did seven exercises with either arm, twenty repetitions each, and wore a smartwatch with an accelerometer and
a gyroscope (Burns et al. 2018, "Shoulder physiotherapy exercise recognition: machine learning the inertial signals from
a smartwatch"). A row is a window of two seconds, and windows do not overlap. Users are the people, so that one seed has
two held-out ones only. Learner and training are the defaults for such a population.
"""

from __future__ import annotations

from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path
from typing import Any

import numpy as np

from tegu.core.data.batch import Array
from tegu.core.data.spec import Spec
from tegu.core.errors import MissingExtraError
from tegu.server.training.calibration_plan import CalibrationPlan
from tegu.server.training.plan import CohortPlan, TrainingPlan
from tegu.sim.data.population import Population
from tegu.sim.defaults.choose import choose_learner
from tegu.sim.experiments.experiment import Experiment

__all__ = ["exercise_windows", "exercises"]

_COHORT = 6  # every training user; the default of 32 is for more people
_STEPS = 100  # two seconds at 50 Hz


def exercise_windows() -> Population:
    """Return every person's windows, described by statistics of each of the six signals.

    Raises:
        MissingExtraError: seglearn is not installed.
    """
    recorded = _recordings()
    parts = [_features(_windows(np.asarray(signal, np.float32))) for signal in recorded["X"]]
    each = [len(part) for part in parts]
    x = np.concatenate(parts)
    spec = Spec.classification(x.shape[1:], len(recorded["y_labels"]))
    return Population.from_arrays(
        x, np.repeat(recorded["y"].astype(np.int64), each), np.repeat(recorded["subject"], each), spec
    )


def _recordings() -> dict[str, Any]:
    """Read the data set without importing the package, which would import scikit-learn."""
    try:
        path = Path(str(distribution("seglearn").locate_file("seglearn/data/watch_dataset.npy")))
    except PackageNotFoundError as error:
        raise MissingExtraError("seglearn", "examples") from error
    found: dict[str, Any] = np.load(path, allow_pickle=True).item()  # from an installed package, as its code is
    return found


def _windows(signal: Array) -> Array:
    """`[windows, steps, 6]` of a signal `[steps, 6]`; what is left at its end is dropped."""
    number = len(signal) // _STEPS
    return signal[: number * _STEPS].reshape(number, _STEPS, signal.shape[1])


def _features(windows: Array) -> Array:
    """float32 `[windows, 30]`: mean, deviation, lowest and highest value, and mean change a step, of each signal."""
    change = np.abs(np.diff(windows, axis=1)).mean(1)
    return np.concatenate([windows.mean(1), windows.std(1), windows.min(1), windows.max(1), change], 1)


def exercises(*, seed: int, rounds: int | None = None, cohort: int | None = None) -> Experiment:
    """Build the experiment; nothing is set by hand but k and the cohort."""
    population = exercise_windows()
    plan = TrainingPlan(
        rounds=rounds, cohort=CohortPlan(cohort or _COHORT), seed=seed, calibration=CalibrationPlan(ks=(7, 14, 35))
    )
    return Experiment(
        name="exercises",
        population=population,
        model=None,
        learner=choose_learner(population, None, seed),
        plan=plan,
    )
