"""Transformers of two layers over tokens, and of one over sensors, train and adapt as in plain torch."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from tegu.client import Personalizer
from tegu.core.bundle.file import read_bundle
from tegu.core.bundle.manifest import ScheduleEntry
from tegu.core.data.spec import Spec
from tegu.learners import reptile
from tegu.server.training.calibration_plan import CalibrationPlan
from tegu.server.training.plan import TrainingPlan
from tegu.sim import Population, simulate

USERS, ROWS, STEPS, WIDTH = 12, 8, 6, 8
PLAN = TrainingPlan(calibration=CalibrationPlan(ks=(2,), folds=0))


def encoder(layers: int, **options: object) -> nn.TransformerEncoder:
    layer = nn.TransformerEncoderLayer(WIDTH, 2, 16, batch_first=True, **options)  # type: ignore[arg-type] # any option
    return nn.TransformerEncoder(layer, layers, enable_nested_tensor=False)


class OverTokens(nn.Module):
    """Tokens of which 0 is padding, learned positions, a class token, and a masked mean."""

    def __init__(self) -> None:
        super().__init__()
        self.tokens, self.positions = nn.Embedding(11, WIDTH, padding_idx=0), nn.Embedding(STEPS + 1, WIDTH)
        self.cls, self.body, self.head = nn.Parameter(torch.randn(1, 1, WIDTH)), encoder(2), nn.Linear(2 * WIDTH, 3)

    def forward(self, ids: Tensor) -> Tensor:
        x = torch.cat([self.cls.expand(ids.shape[0], -1, -1), self.tokens(ids) * math.sqrt(WIDTH)], 1)
        padding = torch.cat([torch.zeros_like(ids[:, :1], dtype=torch.bool), ids == 0], 1)
        x = self.body(x + self.positions(torch.arange(STEPS + 1)), src_key_padding_mask=padding)
        keep = (~padding).unsqueeze(-1).to(x.dtype)
        output: Tensor = self.head(torch.cat([x[:, 0], (x * keep).sum(1) / keep.sum(1)], -1))
        return output


class OverSensors(nn.Module):
    """Windows of channels, sinusoidal positions, and a causal mask."""

    def __init__(self) -> None:
        super().__init__()
        self.enter, self.head = nn.Linear(4, WIDTH), nn.Linear(WIDTH, 3)
        self.body = encoder(1, norm_first=True, activation="gelu")

    def forward(self, x: Tensor) -> Tensor:
        angles = torch.arange(STEPS)[:, None] / 100 ** (torch.arange(0, WIDTH, 2) / WIDTH)
        positions = torch.zeros(STEPS, WIDTH)
        positions[:, 0::2], positions[:, 1::2] = torch.sin(angles), torch.cos(angles)
        mask = nn.Transformer.generate_square_subsequent_mask(STEPS)
        output: Tensor = self.head(self.body(self.enter(x) + positions, mask)[:, -1])
        return output


MODELS = {
    "tokens": (OverTokens, Spec.classification((STEPS,), 3, tokens=11)),
    "sensors": (OverSensors, Spec.classification((STEPS, 4), 3)),
}


def people(name: str) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    shape = (USERS * ROWS, STEPS)
    x = rng.integers(11, size=shape) if name == "tokens" else rng.standard_normal((*shape, 4)).astype(np.float32)
    return x, rng.integers(3, size=USERS * ROWS), np.repeat(np.arange(USERS), ROWS)


def adapted(model: nn.Module, x: np.ndarray, y: np.ndarray, lr: float, steps: int) -> None:
    """Plain torch: steps of SGD on the mean loss."""
    optimiser = torch.optim.SGD(model.parameters(), lr)
    for _ in range(steps):
        optimiser.zero_grad()
        nn.functional.cross_entropy(model(torch.tensor(x)), torch.tensor(y)).backward()
        optimiser.step()


@pytest.mark.parametrize("name", [pytest.param("tokens", marks=pytest.mark.slow), "sensors"])
def test_a_transformer_trains_and_adapts_as_in_plain_torch(name: str, tmp_path: Path) -> None:
    torch.manual_seed(0)
    build, spec = MODELS[name]
    learner = reptile(build(), spec, steps=2, lr=0.1)
    only = replace(learner.calibration, candidates=(learner.knobs,), guarded=False)  # its choice is thrown away
    x, y, users = people(name)
    run = simulate(
        Population.from_arrays(x, y, users, spec), replace(learner, calibration=only), rounds=2, cohort=4, plan=PLAN
    )
    schedule = (ScheduleEntry(1, learner.knobs),)  # adapt, whatever two rounds have shown
    manifest = replace(run.bundle.manifest, schedule=schedule)
    replace(run, bundle=replace(run.bundle, manifest=manifest)).write(tmp_path / "init.tegu")
    model = build().eval()
    model.load_state_dict({n: torch.tensor(v) for n, v in read_bundle(tmp_path / "init.tegu").meta.items()})
    with Personalizer.open(tmp_path / "init.tegu", store=tmp_path / "me.db") as person:
        found = [person.predict(x[-5:])]
        person.observe(x[:5], y[:5])
        person.adapt()
        found.append(person.predict(x[-5:]))
    expected = [model(torch.tensor(x[-5:])).detach().numpy()]
    adapted(model, x[:5], y[:5], 0.1, 2)
    expected.append(model(torch.tensor(x[-5:])).detach().numpy())
    for one, other in zip(found, expected, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-4, atol=1e-5)
    assert np.abs(expected[1] - expected[0]).max() > 1e-2
