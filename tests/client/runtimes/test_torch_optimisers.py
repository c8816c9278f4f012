"""Every optimiser of torch.optim and torch-optimizer on a device, against the same optimiser in plain torch."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
import torch_optimizer
from tests.client.graphs import linear_bundle, linear_predict, linear_rows
from torch import nn

from tegu.client import Personalizer
from tegu.client.runtimes.torch_runtime import TorchRuntime
from tegu.core.data.batch import full_batch
from tegu.core.errors import DataError, RuntimeFailure, TeguError
from tegu.learners import optimiser_names

BUNDLE = linear_bundle(steps=7, lr=0.02)
X, Y = linear_rows(6)
MATRICES = ["Muon"]
NAMES = [name for name in optimiser_names() if name not in MATRICES]

pytestmark = pytest.mark.filterwarnings("ignore:This overload of add:UserWarning")  # of torch-optimizer


def _plain_torch(name: str) -> np.ndarray:
    model = nn.Linear(3, 1)
    with torch.no_grad():
        for each, value in model.named_parameters():
            value.copy_(torch.tensor(BUNDLE.meta[each]))
    optimiser = (getattr(torch.optim, name, None) or getattr(torch_optimizer, name))(model.parameters(), lr=0.02)
    for _ in range(7):
        optimiser.zero_grad()
        nn.functional.mse_loss(model(torch.tensor(X)), torch.tensor(Y)).backward()
        optimiser.step()
    found: np.ndarray = model(torch.tensor(X)).detach().numpy()
    return found


@pytest.mark.parametrize("name", NAMES)
def test_each_predicts_before_adapting_and_adapts_as_in_plain_torch(name: str) -> None:
    with Personalizer.open(BUNDLE, runtime=TorchRuntime(nn.Linear(3, 1), BUNDLE.manifest, optimiser=name)) as p:
        np.testing.assert_allclose(p.predict(X), linear_predict(BUNDLE.meta, X), atol=1e-6)
        p.observe(X, Y)
        p.adapt()
        np.testing.assert_allclose(p.predict(X), _plain_torch(name), rtol=1e-4, atol=1e-5)
        p.reset()
        np.testing.assert_allclose(p.predict(X), linear_predict(BUNDLE.meta, X), atol=1e-6)


def _others() -> list[str]:
    return sorted(
        {
            name
            for package in (torch.optim, torch_optimizer)
            for name, value in vars(package).items()
            if isinstance(value, type) and issubclass(value, torch.optim.Optimizer)
        }
        - set(NAMES)
    )


@pytest.mark.parametrize("name", _others())
def test_all_others_are_refused_in_words_before_anything_runs(name: str) -> None:
    with pytest.raises(TeguError, match=r"choose another optimiser|no optimiser is called") as raised:
        TorchRuntime(nn.Linear(3, 1), BUNDLE.manifest, optimiser=name)
    assert isinstance(raised.value, DataError | RuntimeFailure | LookupError)


def test_an_optimiser_of_matrices_runs_where_matrices_adapt() -> None:
    bundle = linear_bundle(steps=3)
    model = nn.Linear(3, 1, bias=False)
    manifest = replace(bundle.manifest, adapted_parameters=("weight",))
    runtime = TorchRuntime(model, manifest, optimiser="Muon")
    meta = {"weight": bundle.meta["weight"]}
    with torch.no_grad():
        model.weight.copy_(torch.tensor(meta["weight"]))
    optimiser = torch.optim.Muon(model.parameters(), lr=0.1)
    for _ in range(3):
        optimiser.zero_grad()
        nn.functional.mse_loss(model(torch.tensor(X)), torch.tensor(Y)).backward()
        optimiser.step()
    found = runtime.adapt(meta, full_batch(X, Y), {"steps": 3.0, "lr": 0.1})
    np.testing.assert_allclose(found["weight"], model.weight.detach().numpy(), rtol=1e-4, atol=1e-5)
