"""Training starts from the module as given, and parameters without `requires_grad` stay as they are."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from tests.learners.toys import FEATURES, ITEMS, NO_NOISE, SPEC, mlp, rows
from torch import Tensor, nn

from tegu.core.data.spec import Spec
from tegu.core.data.tree import digest
from tegu.core.errors import CompileError, DataError, UnknownNameError
from tegu.learners import Learner, fedavg, fedsgd, local_only, mixture, reptile, residual_correction
from tegu.learners.inner_loop.dual_steps import find_dual_layers
from tegu.learners.learner import TorchTree
from tegu.learners.modules.losses import find_loss


class LowRank(nn.Module):
    """A linear layer with a fixed weight and a trained change of rank 2 (LoRA, Hu et al. 2021)."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.base = nn.Linear(inputs, outputs).requires_grad_(False)
        self.a = nn.Parameter(torch.randn(2, inputs) * 0.1)
        self.b = nn.Parameter(torch.zeros(outputs, 2))

    def forward(self, x: Tensor) -> Tensor:
        result: Tensor = self.base(x) + x @ self.a.T @ self.b.T
        return result


def frozen_body() -> nn.Sequential:
    model = mlp()
    model[0].requires_grad_(False)
    model[0].weight.data.fill_(0.5)
    return model


def low_rank() -> nn.Module:
    return nn.Sequential(LowRank(FEATURES, 6), nn.Tanh(), LowRank(6, 3))


def given(model: nn.Module) -> dict[str, Tensor]:
    return {name: value.detach().clone() for name, value in model.named_parameters()}


def updates(learner: Learner) -> TorchTree:
    meta = {name: torch.from_numpy(value) for name, value in learner.init(0).items()}
    return learner.update(meta, rows(6), rows(4, seed=1), torch.randn(learner.noise))


def test_training_starts_from_the_module_as_given():
    model = mlp()
    start = reptile(model, SPEC).init(3)
    assert all(np.array_equal(start[name], value) for name, value in given(model).items())
    assert digest(start) == digest(reptile(model, SPEC).init(4))
    assert digest(start) == digest(residual_correction(model, SPEC).init(0))


def test_fresh_draws_anew_what_is_not_fixed():
    model = frozen_body()
    first, other = (reptile(model, SPEC, init="fresh").init(seed) for seed in (0, 1))
    assert (first["0.weight"] == 0.5).all()
    assert np.array_equal(first["0.bias"], model[0].bias.numpy())
    assert not np.array_equal(first["2.weight"], other["2.weight"])
    assert not np.array_equal(first["2.weight"], model[2].weight.detach().numpy())


def test_the_start_has_a_known_name():
    with pytest.raises(UnknownNameError, match=r"no initialisation is called 'modul'. Did you mean 'module'"):
        reptile(mlp(), SPEC, init="modul")  # type: ignore[arg-type]


@pytest.mark.parametrize("model", [frozen_body(), low_rank()], ids=["body", "low rank"])
@pytest.mark.parametrize(
    "build",
    [
        reptile,
        residual_correction,
        lambda model, spec: reptile(model, spec, adapted_parameters=["2*"]),
        lambda model, spec: reptile(model, spec, inner="adam"),
        lambda model, spec: reptile(model, spec, learn_step_sizes="layers", prior=3.0),
        lambda model, spec: fedavg(model, reptile(model, spec)),
        lambda model, spec: fedsgd(model, reptile(model, spec)),
        lambda model, spec: local_only(model, reptile(model, spec)),
        lambda model, spec: mixture(reptile(model, spec), 2),
        lambda model, spec: mixture(residual_correction(model, spec), 3),
    ],
    ids=["reptile", "correction", "partial", "adam", "sizes", "fedavg", "fedsgd", "local", "mixed", "mixed correction"],
)
def test_updates_and_states_hold_no_fixed_parameter(build, model: nn.Module):
    learner, before = build(model, SPEC), given(model)
    fixed = {name for name, value in model.named_parameters() if not value.requires_grad}
    assert set(learner.fixed_parameters) == fixed
    start = learner.init(0)
    assert all(np.array_equal(start[name], before[name]) for name in fixed)
    update = updates(learner)
    assert set(update) == set(start) - fixed
    assert "local" in learner.name or any(value.any() for value in update.values())
    meta = {name: torch.from_numpy(value) for name, value in start.items()}
    state = learner.adapt(meta, rows(5), learner.knobs, NO_NOISE)
    assert not fixed & set(state)
    assert not fixed & set(learner.adapted_parameters)


def test_gradient_steps_leave_fixed_layers_out():
    """Against torch: SGD on the parameters that require gradients."""
    model = low_rank()
    learner, data = reptile(model, SPEC, steps=4, lr=0.3), rows(7)
    meta = {name: torch.from_numpy(value) for name, value in learner.init(0).items()}
    state = learner.adapt(meta, data, learner.knobs, NO_NOISE)
    optimiser = torch.optim.SGD([value for value in model.parameters() if value.requires_grad], lr=0.3)
    for _ in range(4):
        optimiser.zero_grad()
        nn.functional.cross_entropy(model(data.x), data.y).backward()
        optimiser.step()
    assert state.keys() == {name for name, value in model.named_parameters() if value.requires_grad}
    for name, value in state.items():
        torch.testing.assert_close(value, model.get_parameter(name).detach(), rtol=1e-5, atol=1e-6)


def test_fixed_embeddings_stay_and_the_rest_adapts():
    table = torch.randn(ITEMS, 4)

    class Scores(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.items = nn.Embedding.from_pretrained(table, freeze=True)
            self.user = nn.Parameter(torch.ones(4))

        def forward(self, ids: Tensor) -> Tensor:
            return self.items(ids) @ self.user

    learner = reptile(Scores(), Spec.ranking(ITEMS))
    assert (learner.adapted_parameters, learner.fixed_parameters) == (("user",), ("items.weight",))
    assert np.array_equal(learner.init(5)["items.weight"], table.numpy())


def test_patterns_name_parameters_that_can_adapt():
    model = frozen_body()
    assert reptile(model, SPEC, adapted_parameters=["*.bias"]).adapted_parameters == ("2.bias",)
    with pytest.raises(DataError, match=r"'0' matches 0.bias, 0.weight alone, which requires_grad=False fixes"):
        reptile(model, SPEC, adapted_parameters=["0"])


def test_something_must_train():
    with pytest.raises(CompileError, match=r"every parameter of Sequential has requires_grad=False"):
        reptile(mlp().requires_grad_(False), SPEC)


def test_a_parameter_is_adapted_or_fixed_but_not_both():
    with pytest.raises(DataError, match=r"'0.bias' is among adapted_parameters and among fixed_parameters"):
        replace(reptile(mlp(), SPEC), fixed_parameters=("0.bias",))


def test_several_initialisations_share_fixed_parameters_and_differ_in_the_others():
    meta = mixture(reptile(frozen_body(), SPEC), 3).init(0)
    assert {name for name in meta if name.endswith(("0.weight", "0.bias")) and "/" not in name} == {
        "0.weight",
        "0.bias",
    }
    assert not any(name.endswith("/0.weight") for name in meta)
    copies = [meta[f"{number}/2.weight"] for number in range(3)]
    assert not np.array_equal(copies[0], copies[1])
    assert not np.array_equal(copies[1], copies[2])
    assert np.abs(copies[0] - copies[1]).max() < copies[0].std()


def test_a_head_on_a_fixed_body_trains_in_dual_form():
    """The input of the head depends on no trained parameter."""
    spec = Spec.classification((FEATURES,), 2)
    model = nn.Sequential(nn.Linear(FEATURES, 20).requires_grad_(False), nn.Tanh(), nn.Linear(20, 2))
    found = find_dual_layers(model, find_loss(None, spec), spec)
    assert [layer.weight for layer in found] == ["2.weight"]
    model[2].bias.requires_grad_(False)
    assert not find_dual_layers(model, find_loss(None, spec), spec)
