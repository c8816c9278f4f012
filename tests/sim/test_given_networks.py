"""Networks that were trained before: `simulate` starts from them, and fixed layers stay to the last bit."""

from __future__ import annotations

import logging
from pathlib import Path

import numpy as np
import pytest
import torch
from tests.learners.pretrained import mobile_network, residual_network
from torch import nn

from tegu.client import Personalizer
from tegu.core.bundle.file import read_bundle
from tegu.core.data.batch import Array
from tegu.server.training.outer_optimiser import OuterRule
from tegu.server.training.plan import CalibrationPlan, CohortPlan, UpdatePlan
from tegu.sim import Population, TrainingPlan, simulate
from tegu.sim.run import Run

USERS, ROWS, CLASSES = 24, 10, 3


def pictures(scale: float = 1.0) -> Population:
    rng = np.random.default_rng(0)
    x = (scale * (0.5 + rng.standard_normal((USERS * ROWS, 3, 12, 12)))).astype(np.float32)
    y = (x[:, 0].mean((1, 2)) > 0.5 * scale).astype(int) + (x[:, 1].mean((1, 2)) > 0.5 * scale)
    return Population.from_arrays(x, y, np.repeat(np.arange(USERS), ROWS))


def vectors(scale: float = 1.0, offset: float = 0.0, targets: bool = False) -> Population:
    rng = np.random.default_rng(1)
    x = rng.standard_normal((USERS * ROWS, 4))
    y = (x[:, 0] + np.repeat(rng.normal(size=USERS), ROWS)) * scale if targets else (x[:, 0] > 0).astype(int)
    return Population.from_arrays((x * scale + offset).astype(np.float32), y, np.repeat(np.arange(USERS), ROWS))


def plan(rounds: int = 2, **options) -> TrainingPlan:
    return TrainingPlan(rounds=rounds, cohort=CohortPlan(6), calibration=CalibrationPlan(ks=(2,), folds=0), **options)


def module_outputs(model: nn.Module, x: Array) -> Array:
    with torch.no_grad():
        found: Array = model(torch.from_numpy(x)).numpy()
    return found


def initial_outputs(run: Run, x: Array) -> Array:
    """The outputs of the graph with the parameters before training, unadapted."""
    meta = run.learner.init(run.plan.seed)
    state = run.engine.adapt(meta, _support(run, x), run.learner.unadapted)
    return run.engine.predict(meta, state, x[None])[0]


def _support(run: Run, x: Array):
    from tegu.core.data.batch import NumpyBatch

    y = np.zeros((1, 2, *run.learner.spec.y.shape), run.learner.spec.y.dtype)
    return NumpyBatch(x[None, :2], y, np.ones((1, 2), np.float32))


@pytest.mark.parametrize("build", [mobile_network, residual_network])
def test_image_networks_with_running_statistics_work_end_to_end(build, tmp_path: Path):
    model = build()
    for name, parameter in model.named_parameters():
        parameter.requires_grad_(name.startswith("5."))
    before = {name: value.numpy().copy() for name, value in model.state_dict().items()}
    people = pictures()
    run = simulate(people, model, plan=plan())
    assert set(run.bundle.manifest.fixed_parameters) == {n for n, p in model.named_parameters() if not p.requires_grad}
    x = people.all_rows()[0][:40]
    expected, found = module_outputs(model, x), initial_outputs(run, x)
    assert (expected.argmax(1) == found.argmax(1)).all()
    np.testing.assert_allclose(np.exp(found), torch.softmax(torch.from_numpy(expected), 1).numpy(), rtol=1e-5)
    run.write(tmp_path / "init.tegu")
    bundle = read_bundle(tmp_path / "init.tegu")
    for name in bundle.manifest.fixed_parameters:
        assert np.array_equal(bundle.meta[name], before[name])
    assert not np.array_equal(bundle.meta["5.weight"], before["5.weight"])
    own = build()
    own.load_state_dict({**before_tensors(before), **{n: torch.tensor(v) for n, v in bundle.meta.items()}})
    with Personalizer.open(tmp_path / "init.tegu", store=tmp_path / "me.db") as person:
        found = person.predict(x)
        np.testing.assert_allclose(found, torch.softmax(own(torch.from_numpy(x)), 1).detach().numpy(), rtol=1e-4)
        person.observe(x[:6], np.zeros(6, int))
        person.adapt()


def before_tensors(state: dict[str, Array]) -> dict[str, torch.Tensor]:
    return {name: torch.from_numpy(value) for name, value in state.items()}
