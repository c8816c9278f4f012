"""All figures of a run, as `metrics.json`, the table and the report have them."""

from __future__ import annotations

from typing import Any

from tegu.core.bundle.manifest import ScheduleEntry
from tegu.core.process import peak_memory
from tegu.server.evaluation.decline import decline_as_json
from tegu.server.evaluation.early_stopping import decline_of
from tegu.server.training.automatic import settled
from tegu.sim.evaluation.heldout import HeldoutResults
from tegu.sim.run_result import RunResult

__all__ = ["run_metrics"]


def run_metrics(name: str, run: RunResult, results: HeldoutResults) -> dict[str, Any]:
    """The contents of `metrics.json`.

    Args:
        name: of the experiment.
        run: the run.
        results: its results on held-out users.
    """
    trained = run.trained
    return {
        "experiment": name,
        "learner": run.learner.name,
        "initialisations": run.bundle.manifest.training["initialisations"],
        "backend": run.bundle.manifest.training["backend"],
        "engine": run.engine.backend.name,
        "seed": run.plan.seed,
        "rounds": settled(run.plan).rounds,
        "cohort": settled(run.plan).cohort,
        "folds": run.plan.calibration.folds or 0,
        "train_users": len(run.split.train),
        "calibration_users": len(run.split.calibration),
        "heldout_users": len(run.split.heldout),
        "kept_round": trained.kept,
        "metric": run.metric.name,
        "higher_is_better": run.metric.higher_is_better,
        "material": run.plan.calibration.material,
        "schedule": [_without_losses(entry) for entry in run.bundle.manifest.schedule],
        "curve": results.curve,
        "training_gap": run.final_validation.as_json() if run.final_validation else {},
        "decline": decline_as_json(
            decline_of(trained.validations, run.metric.higher_is_better), run.metric.name, trained.kept
        ),
        "train_seconds": round(trained.seconds, 2),
        "user_rounds_per_second": round(trained.user_rounds / max(trained.seconds, 1e-9), 1),
        "peak_rss_mb": round(peak_memory(), 1),
        "meta": run.bundle.manifest.training["meta"],
        **({"privacy": dict(trained.privacy)} if trained.privacy else {}),
    }


def _without_losses(entry: ScheduleEntry) -> dict[str, Any]:
    return {name: value for name, value in entry.as_json().items() if name != "losses"}  # some hundred numbers each
