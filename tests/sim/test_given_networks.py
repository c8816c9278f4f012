"""Networks that were trained before: `simulate` starts from them, and fixed layers stay to the last bit."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from tests.learners.pretrained import mobile_network, residual_network
from torch import nn

from tegu.client import Personalizer
from tegu.core.bundle.file import read_bundle
from tegu.core.data.batch import Array, NumpyBatch
from tegu.learners import Learner
from tegu.server.training.calibration_plan import CalibrationPlan
from tegu.server.training.outer_optimiser import OuterRule
from tegu.server.training.plan import CohortPlan, UpdatePlan
from tegu.sim import Population, TrainingPlan, simulate
from tegu.sim.defaults.choose import choose_learner
from tegu.sim.engine import Engine, make_engine

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


def initial_outputs(learner: Learner, x: Array, engine: Engine | None = None) -> Array:
    """The outputs with the parameters before training, unadapted; by torch, or by the graphs of an engine."""
    engine = engine or make_engine(learner, {}, "torch-vmap")
    meta = learner.init(0)
    y = np.zeros((1, 2, *learner.spec.y.shape), learner.spec.y.dtype)
    state = engine.adapt(meta, NumpyBatch(x[None, :2], y, np.ones((1, 2), np.float32)), learner.unadapted)
    return engine.predict(meta, state, x[None])[0]


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
    expected, found = module_outputs(model, x), initial_outputs(run.learner, x, run.engine)
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
        found = np.exp(person.predict(x))
        np.testing.assert_allclose(found, torch.softmax(own(torch.from_numpy(x)), 1).detach().numpy(), rtol=1e-4)
        person.observe(x[:6], np.zeros(6, int))
        person.adapt()


def before_tensors(state: dict[str, Array]) -> dict[str, torch.Tensor]:
    return {name: torch.from_numpy(value) for name, value in state.items()}


# --- what is fixed stays, whatever trains -------------------------------------------------------------------------


def half_fixed() -> nn.Sequential:
    """As in the first report: a first layer of halves that must not move."""
    model = nn.Sequential(nn.Linear(4, 8), nn.Tanh(), nn.Linear(8, 2))
    model[0].weight.data.fill_(0.5)
    model[0].requires_grad_(False)
    return model


SETTINGS = {
    "onnx-loop": {"engine": "onnx-loop"},
    "torch-vmap": {"engine": "torch-vmap"},
    "torch-loop": {"engine": "torch-loop"},
    "mixture": {"initialisations": 2},
    "weight decay": {"plan": plan(outer=OuterRule("AdamW", 0.1, {"weight_decay": 0.5}))},
    "clipping": {"plan": plan(updates=UpdatePlan(clip=0.01))},
    "int8": {"plan": plan(updates=UpdatePlan(precision="int8"))},
    "folds": {"plan": TrainingPlan(rounds=2, cohort=CohortPlan(6), calibration=CalibrationPlan(ks=(2,), folds=2))},
}


@pytest.mark.parametrize("setting", SETTINGS)
def test_fixed_parameters_stay_and_others_start_as_given(setting: str):
    model, people = half_fixed(), vectors()
    run = simulate(people, model, **{"plan": plan(), "engine": "torch-loop", **SETTINGS[setting]})
    found, start = run.bundle.meta, run.learner.init(0)
    first = "0/" if setting == "mixture" else ""
    assert np.array_equal(start[f"{first}2.weight"], model[2].weight.detach().numpy())
    assert (found["0.weight"] == 0.5).all()
    assert np.array_equal(found["0.bias"], model[0].bias.numpy())
    assert not np.array_equal(found[f"{first}2.weight"], start[f"{first}2.weight"])
    assert run.bundle.manifest.fixed_parameters == ("0.weight", "0.bias")


@pytest.mark.slow
def test_all_engines_train_alike():
    model, people = half_fixed(), vectors()
    kinds = ("onnx", "onnx-loop", "torch-vmap", "torch-loop")
    metas = [simulate(people, model, plan=plan(), engine=kind).bundle.meta for kind in kinds]
    for other in metas[1:]:
        for name, value in metas[0].items():
            np.testing.assert_allclose(other[name], value, rtol=1e-4, atol=1e-6)


def test_a_resumed_run_keeps_what_is_fixed(tmp_path: Path):
    model, people = half_fixed(), vectors()
    outer = OuterRule("AdamW", 0.01)  # the default's step size decays, so that more rounds are another run
    whole = simulate(people, model, plan=plan(4, outer=outer), engine="torch-vmap")
    simulate(people, model, plan=plan(2, outer=outer), engine="torch-vmap", checkpoints=tmp_path)
    resumed = simulate(people, model, plan=plan(4, outer=outer), engine="torch-vmap", checkpoints=tmp_path)
    assert all(np.array_equal(resumed.bundle.meta[name], value) for name, value in whole.bundle.meta.items())


def test_the_parameters_are_described(caplog: pytest.LogCaptureFixture):
    with caplog.at_level(logging.INFO, "tegu"):
        simulate(vectors(), half_fixed(), plan=plan(1), engine="torch-vmap")
    notes = [record.getMessage() for record in caplog.records if record.name == "tegu"]
    assert "training of the module starts from its own parameters" in notes
    assert "parameters: 2 (2.weight, 2.bias) train, none adapt on a device, 2 (0.weight, 0.bias) are fixed" in notes


def test_fresh_parameters_come_from_the_seed(caplog: pytest.LogCaptureFixture):
    with caplog.at_level(logging.INFO, "tegu"):
        first, second = (chosen(half_fixed(), vectors(), init="fresh") for _ in range(2))
    assert "training of the module starts from parameters drawn anew from seed 0" in caplog.messages
    assert np.array_equal(first.init(0)["2.weight"], second.init(0)["2.weight"])
    assert (first.init(0)["0.weight"] == 0.5).all()


# --- standardising ------------------------------------------------------------------------------------------------


def trained_on(people: Population, steps: int = 200, outputs: int = 2) -> nn.Sequential:
    """A network that plain torch has trained on the population's rows."""
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(4, 16), nn.Tanh(), nn.Linear(16, outputs))
    x, y = (torch.from_numpy(part) for part in people.all_rows())
    optimiser = torch.optim.Adam(model.parameters(), 0.02)
    for _ in range(steps):
        optimiser.zero_grad()
        nn.functional.cross_entropy(model(x), y).backward()
        optimiser.step()
    return model


def chosen(model: nn.Module, people: Population, **options: Any) -> Learner:
    """The learner that `simulate` trains."""
    return choose_learner(people, model, 0, **options)


def is_standardised(learner: Learner) -> bool:
    return any(name.startswith("model.") for name in learner.init(0))


def test_a_network_trained_elsewhere_gives_its_own_outputs_before_training():
    people = vectors(scale=3.0, offset=2.0)
    model = trained_on(people)
    x, y = people.all_rows()
    learner = chosen(model, people)
    assert not is_standardised(learner)
    own, found = module_outputs(model, x), initial_outputs(learner, x)
    assert (own.argmax(1) == y).mean() > 0.9
    assert (own.argmax(1) == found.argmax(1)).all()
    np.testing.assert_allclose(found, torch.log_softmax(torch.from_numpy(own), 1), atol=3e-4)


def test_a_new_network_is_standardised(caplog: pytest.LogCaptureFixture):
    with caplog.at_level(logging.INFO, "tegu"):
        run = simulate(vectors(1000.0, 5e4), nn.Sequential(nn.Linear(4, 2)), plan=plan(1), engine="torch-vmap")
    assert is_standardised(run.learner)
    assert "inputs are standardised to mean 0" in " ".join(caplog.messages)


def test_new_networks_with_other_initialisations_are_standardised():
    model = nn.Sequential(nn.Linear(4, 16), nn.LayerNorm(16), nn.Tanh(), nn.Linear(16, 2))
    for layer in (model[0], model[3]):
        nn.init.xavier_normal_(layer.weight, 2.0)
        nn.init.zeros_(layer.bias)
    assert is_standardised(chosen(model, vectors(1000.0, 5e4)))


@pytest.mark.parametrize("choice", [True, False])
def test_the_choice_is_the_users(choice: bool):
    people = vectors(3.0)
    assert is_standardised(chosen(trained_on(people), people, standardise=choice)) is choice
    new = nn.Sequential(nn.Linear(4, 8), nn.Tanh(), nn.Linear(8, 2))
    assert is_standardised(chosen(new, people, standardise=choice)) is choice


def test_a_body_trained_elsewhere_with_a_new_head_is_not_standardised():
    """All of it trains: only its biases show that it is not new."""
    model = trained_on(vectors(3.0), 400)
    model[2] = nn.Linear(16, 2)
    assert not is_standardised(chosen(model, vectors(3.0)))


def test_targets_keep_their_unit_with_a_given_network():
    people = vectors(50.0, targets=True)
    model = nn.Sequential(nn.Linear(4, 1))
    model[0].weight.data[:] = torch.tensor([[1.0, 0.0, 0.0, 0.0]])
    model[0].bias.data.zero_()
    learner = chosen(model, people)
    x, _ = people.all_rows()
    assert not is_standardised(learner)
    np.testing.assert_array_equal(initial_outputs(learner, x), module_outputs(model, x))


def test_the_output_of_a_module_is_named():
    class Two(nn.Linear):
        def forward(self, x: torch.Tensor) -> dict[str, torch.Tensor]:
            first = super().forward(x)
            return {"first": first, "second": -first}

    model, people = Two(4, 2), vectors()
    learner = chosen(model, people, output="second", standardise=False)
    x, _ = people.all_rows()
    with torch.no_grad():
        expected = torch.log_softmax(model(torch.from_numpy(x))["second"], 1)
    np.testing.assert_allclose(initial_outputs(learner, x), expected, atol=3e-4)
