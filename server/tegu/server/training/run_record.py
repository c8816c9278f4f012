"""What a run is, for `run.json`: its plan, its learner and its first parameters."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from tegu.core.bundle.file import Bundle
from tegu.core.bundle.manifest import Manifest
from tegu.core.data.tree import Tree, digest
from tegu.server.run_config import to_config
from tegu.server.training.plan import TrainingPlan
from tegu.server.training.run_folder import SHA, Record

__all__ = ["bundle_record", "learner_record", "plan_record"]

# Settings that say how long to wait for whom. A run may be resumed with others.
_NO_EFFECT = ("wait-seconds", "quorum", "deadline", "oversampling", "attempts", "most-stale")


def bundle_record(start: Bundle, plan: TrainingPlan) -> Record:
    """The record of a federation's run from a bundle. The nodes' rows are theirs, and no part of it."""
    return {"plan": plan_record(plan), **learner_record(start.manifest, start.meta, start.graphs)}


def plan_record(plan: TrainingPlan) -> dict[str, Any]:
    """The plan's settings, named as in a run configuration."""
    calibration = plan.calibration
    known = to_config(replace(plan, calibration=replace(calibration, metric=None)))
    settings = {name: value for name, value in known.items() if name not in _NO_EFFECT}
    return settings | {"calibration-metric": "" if calibration.metric is None else calibration.metric.name}


def learner_record(manifest: Manifest, first: Tree, graphs: Mapping[str, bytes]) -> dict[str, dict[str, Any]]:
    """The learner's name, knobs, parameters and graphs, and the parameters that training starts from."""
    sha = hashlib.sha256()
    for name in sorted(graphs):
        sha.update(graphs[name])
    spec = json.dumps(manifest.spec.to_dict(), sort_keys=True).encode()
    learner = {
        "learner": manifest.learner,
        "kind": manifest.spec.kind,
        "shapes of inputs and targets": SHA + hashlib.sha256(spec).hexdigest(),
        **{f"knob {name}": value for name, value in manifest.knobs.items()},
        "adapted parameters": len(manifest.adapted_parameters),
        **{f"parameter {name}": f"{array.dtype}{list(array.shape)}" for name, array in first.items()},
        "graphs of the learner (its model, its loss, or the versions of torch and onnx)": SHA + sha.hexdigest(),
    }
    return {"learner": learner, "start": {"first parameters": SHA + digest(first)}}
