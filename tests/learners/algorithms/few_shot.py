"""Rows of few labels and small embedding networks, and easyfsl for comparison."""

from __future__ import annotations

import sys
from contextlib import contextmanager
from types import ModuleType
from typing import Any
from unittest import mock

import torch
from torch import Tensor, nn

from tegu.core.data.batch import Batch
from tegu.core.data.spec import Spec
from tegu.learners.learner import Learner, TorchBatch, TorchTree

LABELS, FEATURES, WIDTH = 4, 5, 6
SPEC = Spec.classification((FEATURES,), LABELS)
VALUES = Spec.regression((FEATURES,), 2)
NO_NOISE = torch.zeros(0)


def network(outputs: int = WIDTH) -> nn.Sequential:
    torch.manual_seed(3)
    return nn.Sequential(nn.Linear(FEATURES, 7), nn.Tanh(), nn.Linear(7, outputs))


def rows(labels: list[int], seed: int = 0) -> TorchBatch:
    """A row for each label, in this order."""
    x = torch.randn(len(labels), FEATURES, generator=torch.Generator().manual_seed(seed))
    return Batch(x, torch.tensor(labels), torch.ones(len(labels)))


def values(count: int, seed: int = 0) -> TorchBatch:
    x = torch.randn(count, FEATURES, generator=torch.Generator().manual_seed(seed))
    return Batch(x, x[:, :2] * 2 + 1, torch.ones(count))


def with_padding(batch: TorchBatch, at: int, seed: int = 9) -> TorchBatch:
    """The batch with two random rows of weight 0 before row `at`."""
    other = torch.randn(2, FEATURES, generator=torch.Generator().manual_seed(seed))
    extra = Batch(other, batch.y[:2] * 0 + batch.y.max(), torch.zeros(2))
    return Batch(*(torch.cat([own[:at], new, own[at:]]) for own, new in zip(batch, extra, strict=True)))


def meta_of(learner: Learner, seed: int = 0) -> TorchTree:
    """First parameters, moved a little: an entry that is 0 could hide a wrong gradient."""
    drawn = torch.Generator().manual_seed(seed)
    found = {name: torch.from_numpy(value) for name, value in learner.init(seed).items()}
    return {name: value + 0.1 * torch.randn(value.shape, generator=drawn) for name, value in found.items()}


def answers(learner: Learner, meta: TorchTree, support: TorchBatch, x: Tensor, **knobs: float) -> Tensor:
    state = learner.adapt(meta, support, {**learner.knobs, **knobs}, NO_NOISE)
    return learner.predict(meta, state, x)


def stacked(batches: list[TorchBatch]) -> TorchBatch:
    return Batch(*map(torch.stack, zip(*batches, strict=True)))


@contextmanager
def without_torchvision() -> Any:
    """easyfsl's packages import names of torchvision for networks that are not used here, and torchvision is large."""
    resnet = ModuleType("torchvision.models.resnet")
    for name in ("BasicBlock", "Bottleneck", "conv1x1", "conv3x3"):
        setattr(resnet, name, nn.Identity)
    names = {"torchvision": ModuleType("torchvision"), "torchvision.models": ModuleType("torchvision.models")}
    with mock.patch.dict(sys.modules, {**names, "torchvision.models.resnet": resnet}):
        yield


def peer(name: str) -> Any:
    """A class of `easyfsl.methods`."""
    with without_torchvision():
        import easyfsl.methods

        return getattr(easyfsl.methods, name)
