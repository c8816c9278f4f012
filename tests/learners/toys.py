"""Small models, synthetic rows, and reference training in plain torch."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor, nn

from tegu.core.data.batch import Batch
from tegu.core.data.spec import Spec
from tegu.learners.learner import Learner, TorchBatch, TorchTree
from tegu.learners.solvers.kernel import unit_length

FEATURES, CLASSES, ITEMS = 4, 3, 12
SPEC = Spec.classification((FEATURES,), CLASSES)
NO_NOISE = torch.zeros(0)


class Factors(nn.Module):
    """Scores of items for one user."""

    def __init__(self) -> None:
        super().__init__()
        self.items = nn.Embedding(ITEMS, 4)
        self.user = nn.Parameter(torch.randn(4))

    def forward(self, ids: Tensor) -> Tensor:
        return self.items(ids) @ self.user


def mlp(outputs: int = CLASSES) -> nn.Sequential:
    return nn.Sequential(nn.Linear(FEATURES, 5), nn.Tanh(), nn.Linear(5, outputs))


def rows(count: int, seed: int = 0, padding: int = 0, dtype: torch.dtype = torch.float32) -> TorchBatch:
    """Random rows for `SPEC`, followed by `padding` random rows with mask 0."""
    rng = np.random.default_rng(seed)
    x = torch.from_numpy(rng.standard_normal((count + padding, FEATURES))).to(dtype)
    y = torch.from_numpy(rng.integers(CLASSES, size=count + padding))
    mask = torch.ones(count + padding, dtype=dtype)
    mask[count:] = 0
    return Batch(x, y, mask)


def unit_rows(count: int, width: int, seed: int = 0) -> Tensor:
    """Random rows `[count, width]` of length 1."""
    return unit_length(torch.randn(count, width, generator=torch.Generator().manual_seed(seed)))


def concatenated(a: TorchBatch, b: TorchBatch) -> TorchBatch:
    return Batch(*(torch.cat(parts) for parts in zip(a, b, strict=True)))


def meta_of(learner: Learner, seed: int = 0, dtype: torch.dtype = torch.float32) -> TorchTree:
    return {name: torch.from_numpy(value).to(dtype) for name, value in learner.init(seed).items()}


def defaults(learner: Learner, **knobs: float) -> dict[str, float]:
    return {**learner.knobs, **knobs}


def trained(
    model: nn.Module,
    meta: TorchTree,
    optimiser: Callable[[list[nn.Parameter]], torch.optim.Optimizer],
    batches: list[TorchBatch],
    adapted: str = "",
) -> TorchTree:
    """Parameters whose names start with `adapted`, after one step of `optimiser` per batch with `loss.backward()`."""
    module = copy.deepcopy(model).to(next(iter(meta.values())).dtype)
    module.load_state_dict(meta)
    moving = {name: p for name, p in module.named_parameters() if name.startswith(adapted)}
    steps = optimiser(list(moving.values()))
    for batch in batches:
        steps.zero_grad()
        F.cross_entropy(module(batch.x), batch.y).backward()
        steps.step()
    return {name: p.detach() for name, p in moving.items()}


def assert_trees_close(found: TorchTree, expected: TorchTree, **tolerance: Any) -> None:
    assert found.keys() == expected.keys()
    for name in expected:
        torch.testing.assert_close(found[name], expected[name], **({"rtol": 1e-4, "atol": 1e-6} | tolerance), msg=name)


def minus(a: TorchTree, b: TorchTree) -> TorchTree:
    return {name: a[name] - b[name] for name in a}
