"""What a run gives: parameters with their schedule, the users of each part, and methods that predict."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NoReturn, TypeVar

from tegu.core.bundle.file import Bundle, write_bundle
from tegu.core.bundle.manifest import knobs_for
from tegu.core.compression.precision import Precision
from tegu.core.errors import DataError
from tegu.core.metrics import Metric
from tegu.learners.learner import Learner
from tegu.server.evaluation.validation import Validation
from tegu.server.training.automatic import settled
from tegu.server.training.plan import TrainingPlan
from tegu.sim.data.population import Split
from tegu.sim.engine import Engine
from tegu.sim.engine.predictions import Method, adapted_predictions
from tegu.sim.training.cross_fitting import Evaluator
from tegu.sim.training.in_process import Trained

__all__ = ["RunResult", "with_results"]

Result = TypeVar("Result", bound="RunResult")


@dataclass(frozen=True)
class RunResult:
    """Outcome of a training with its calibration. `Run` adds what a reader wants of it.

    Attributes:
        bundle: the initialisation with its schedule, ready to be written.
        split: the training, calibration and held-out users.
        fold_evaluators: for each fold, parameters and the calibration users that had no part in training them.
        learner: the learner that was trained.
        engine: the engine that runs the learner.
        plan: the plan that was run; nothing in it is left open.
        trained: the trained parameters, with the figures of the training.
        final_validation: results of the initialisation on calibration and training users, at the middle k. None if
            there is nothing to validate.
        metric: the metric of all results.
        ks: numbers of interactions to evaluate at.
    """

    bundle: Bundle
    split: Split
    fold_evaluators: tuple[Evaluator, ...]
    learner: Learner
    engine: Engine
    plan: TrainingPlan
    trained: Trained
    final_validation: Validation | None
    metric: Metric
    ks: tuple[int, ...]

    def __repr__(self) -> str:
        split = self.split
        return (
            f"{type(self).__name__}(learner={self.learner.name!r}, rounds={settled(self.plan).rounds}, "
            f"train_users={len(split.train)}, calibration_users={len(split.calibration)}, "
            f"heldout_users={len(split.heldout)}, ks={self.ks})"
        )

    def __reduce__(self) -> NoReturn:
        raise DataError(
            "a run cannot be pickled, for it holds functions and graphs that are loaded: keep run.write(path), and for "
            "torch run.state_dict()"
        )

    def __copy__(self: Result) -> Result:
        return self

    def __deepcopy__(self: Result, memo: dict[int, Any]) -> Result:
        return self

    def initialisation(self) -> Method:
        """Return the method that predicts without adapting."""
        return adapted_predictions(self.engine, self.bundle.meta, self.learner.unadapted)

    def personalised(self, k: int) -> Method:
        """Return the method that adapts as a device with `k` interactions does."""
        return adapted_predictions(self.engine, self.bundle.meta, knobs_for(self.bundle.manifest, k))

    def write(self, path: str | Path, private_key: bytes | None = None, precision: Precision = "float32") -> Bundle:
        """Write the bundle; see `tegu.core.bundle.file.write_bundle`.

        With a precision other than float32, the manifest's `training` has an entry `stored_as`. Its entry `meta` is
        still the digest of the parameters as trained, not as stored.

        Raises:
            FileError: the file cannot be written.
            DataError: a parameter holds a value that the precision cannot represent.
        """
        bundle = self.bundle
        if precision != "float32":
            training = {**bundle.manifest.training, "stored_as": precision}
            bundle = replace(bundle, manifest=replace(bundle.manifest, training=training))
        return write_bundle(path, bundle, private_key, precision)


def with_results(run: Result, curve: Sequence[dict[str, Any]]) -> Result:
    """Return the run with its held-out results in the bundle's manifest."""
    manifest = replace(run.bundle.manifest, heldout=tuple(curve))
    return replace(run, bundle=replace(run.bundle, manifest=manifest))
