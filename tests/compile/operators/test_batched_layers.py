"""Layers and functions that compile for many users at once, also where the update differentiates adaptation."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor, nn

from tegu.compile import compile_cohort
from tegu.core.data.spec import Spec
from tegu.learners import reptile

ROWS = Spec.classification((4,), 3)


class Between(nn.Module):
    """Features, what a function makes of them, and a head."""

    def __init__(self, function, width):
        super().__init__()
        self.body, self.function, self.head = nn.Linear(4, 6), function, nn.Linear(width, 3)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.function(self.body(x)))


def activations() -> nn.Module:
    mixed = [nn.SiLU(), nn.RMSNorm(6), nn.Mish(), nn.Linear(6, 6), nn.RReLU(), nn.PReLU(), nn.Softshrink(0.1)]
    gates = [nn.LogSigmoid(), nn.Linear(6, 12), nn.GLU(), nn.Hardswish(), nn.CELU(), nn.Threshold(0.1, 0.2)]
    return nn.Sequential(nn.Linear(4, 6), *mixed, *gates, nn.Linear(6, 3))


def chosen(x: Tensor) -> Tensor:
    changed = x.clone()
    changed[:, 0] = 0.5 * x[:, 1]
    changed[x > 1] = 1.0
    parts = [
        x.gather(1, x.argsort(1)[:, :3]),
        x.topk(2, 1).values,
        x.sort(1).values,
        x.index_select(1, torch.tensor([5, 0])),
        x.median(1, keepdim=True).values,
        x.max(1, keepdim=True).values,
        x * F.one_hot(x.argmax(1), 6),
        changed,
    ]
    return torch.cat(parts, 1)


def scanned(x: Tensor) -> Tensor:
    bilinear = F.bilinear(x[:, :3], x[:, 3:], torch.ones(2, 3, 3))
    windows = x.unfold(1, 3, 1).amax(-1)
    return torch.cat([x.cumprod(1), x.prod(1, keepdim=True), windows, bilinear], 1)


MODELS = {
    "activations": (activations, ROWS, "14"),
    "chosen": (lambda: Between(chosen, 27), ROWS, "head"),
    "scanned": (lambda: Between(scanned, 13), ROWS, "head"),
}


@pytest.mark.slow
@pytest.mark.parametrize("name", MODELS)
def test_they_have_graphs_over_users(name: str) -> None:
    build, spec, head = MODELS[name]
    torch.manual_seed(0)
    graphs = compile_cohort(reptile(build(), spec, steps=1, adapted_parameters=[head]))
    assert graphs.update
