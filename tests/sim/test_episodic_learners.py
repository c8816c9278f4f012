"""Learners on embedded rows, trained in a simulated federation and used on a device without torch."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from tegu.core.bundle.file import Bundle
from tegu.core.data.batch import Array, Batch
from tegu.core.data.spec import Spec
from tegu.core.sampling.episode import EpisodeRule
from tegu.learners import Learner, find_learner
from tegu.server.progress import SILENT
from tegu.server.training.calibration_plan import CalibrationPlan
from tegu.server.training.plan import TrainingPlan
from tegu.sim import Population, simulate
from tegu.sim.engine import EngineKind

slow = pytest.mark.slow
OPTIONS: dict[str, dict[str, Any]] = {
    "prototypical_networks": {},
    "matching_networks": {},
    "relation_networks": {},
    "r2d2": {},
    "snail": {"window": 6, "filters": 3},
}
NAMES = [pytest.param(name, marks=() if name == "prototypical_networks" else slow) for name in OPTIONS]
DEVICE = """
import json, sys
sys.modules["torch"] = None
from tegu.client import Personalizer
with Personalizer.open(sys.argv[1]) as person:
    rows = json.load(open(sys.argv[2]))
    nobody = person.predict(rows["asked"]).tolist()
    person.observe(rows["x"], rows["y"])
    kept = person.adapt().kept
    print(json.dumps({"kept": kept, "nobody": nobody, "found": person.predict(rows["asked"]).tolist()}))
"""


def tasks(values: bool, users: int = 60) -> Population:
    """Each user has labels, or a slope, of their own; 2 of 4 features say nothing."""
    rng = np.random.default_rng(0)
    user, x = np.repeat(np.arange(users), 14), rng.normal(size=(users * 14, 4)).astype(np.float32)
    if values:
        slope = rng.normal(size=(users, 2))
        y = (slope[user] * x[:, :2]).sum(1, keepdims=True).astype(np.float32)
        return Population.from_arrays(x, y, user, Spec.regression((4,)))
    kind = (x[:, 0] > 0).astype(int) + 2 * (x[:, 1] > 0)
    names = np.stack([rng.permutation(4) for _ in range(users)])  # of the kinds, anew for each user
    return Population.from_arrays(x, names[user, kind], user, Spec.classification((4,), 4))


def learner_of(name: str, spec: Spec) -> Learner:
    torch.manual_seed(0)
    return find_learner(name)(nn.Sequential(nn.Linear(4, 12), nn.Tanh(), nn.Linear(12, 6)), spec, **OPTIONS[name])


@pytest.mark.parametrize("values", [False, True], ids=["labels", "values"])
@pytest.mark.parametrize("name", NAMES)
def test_a_federation_trains_it_and_a_device_without_torch_runs_it(name: str, values: bool, tmp_path: Path) -> None:
    if values and name not in ("r2d2", "snail"):
        return
    people = tasks(values)
    learner = learner_of(name, people.spec)
    plan = TrainingPlan(episodes=EpisodeRule(4, 8, 6), calibration=CalibrationPlan(ks=(8,), risk=0.4))
    # tests/compile/test_episodic.py compiles SNAIL for many users with labels, which takes most of a minute.
    engine: EngineKind = "torch-vmap" if name == "snail" and not values else "onnx"
    run = simulate(people, learner, rounds=6, cohort=12, seed=0, plan=plan, engine=engine, progress=SILENT)
    started = learner.init(0)
    assert all((run.bundle.meta[key] != started[key]).any() for key in ("0.weight", "2.weight"))
    run.write(tmp_path / "init.tegu")
    on_device(tmp_path, run.bundle, learner)


def on_device(folder: Path, bundle: Bundle, learner: Learner) -> None:
    """A device gives what torch gives with the knobs of the schedule."""
    x, y = tasks(learner.spec.kind == "regression").rows(3)
    rows = {"x": x[:8].tolist(), "y": y[:8].tolist(), "asked": x[8:].tolist()}
    (folder / "rows.json").write_text(json.dumps(rows))
    command = [sys.executable, "-c", DEVICE, str(folder / "init.tegu"), str(folder / "rows.json")]
    printed = json.loads(subprocess.run(command, capture_output=True, check=True, text=True).stdout)
    knobs = bundle.manifest.schedule[0].knobs if printed["kept"] else bundle.manifest.unadapted
    for found, used in (("found", knobs), ("nobody", bundle.manifest.unadapted)):
        expected = in_torch(learner, bundle, used, x, y)
        np.testing.assert_allclose(printed[found], expected, rtol=1e-3, atol=1e-4)


def in_torch(learner: Learner, bundle: Bundle, knobs: Mapping[str, float], x: Array, y: Array) -> Array:
    """Predictions for all rows but the first eight, which the learner adapts on."""
    meta = {name: torch.from_numpy(value) for name, value in bundle.meta.items()}
    support = Batch(torch.from_numpy(x[:8]), torch.from_numpy(y[:8]), torch.ones(8))
    state = learner.adapt(meta, support, knobs, torch.zeros(0))
    found: Array = learner.predict(meta, state, torch.from_numpy(x[8:])).numpy()
    return found
