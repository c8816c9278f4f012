"""Several learners in one bundle, trained in a simulated federation and used on a device without torch."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from tests.sim.test_episodic_learners import on_device, tasks
from torch import nn

from tegu.learners import find_learner
from tegu.server.progress import SILENT
from tegu.server.training.calibration_plan import CalibrationPlan
from tegu.server.training.plan import TrainingPlan
from tegu.sim import simulate


@pytest.mark.slow
def test_calibration_chooses_a_learner_and_a_device_without_torch_runs_it(tmp_path: Path) -> None:
    people = tasks(values=False)  # labels mean something else to everybody: no initialisation knows them
    torch.manual_seed(0)
    module = nn.Sequential(nn.Linear(4, 12), nn.Tanh(), nn.Linear(12, 4))
    learner = find_learner("fomaml,prototypical_networks")(module, people.spec, steps=1, lr=0.01)
    plan = TrainingPlan(calibration=CalibrationPlan(ks=(8,), risk=0.4))
    run = simulate(people, learner, rounds=20, cohort=12, seed=0, plan=plan, progress=SILENT)
    assert run.bundle.manifest.learner == "fomaml,prototypical_networks"
    started = learner.init(0)
    for name in ("0/0.weight", "1/0.weight"):
        assert (run.bundle.meta[name] != started[name]).any(), f"{name} does not train"
    (entry,) = run.bundle.manifest.schedule
    assert entry.knobs["share.1"] > 0, "the steps of fomaml are too small to help"
    run.write(tmp_path / "init.tegu")
    on_device(tmp_path, run.bundle, learner)
