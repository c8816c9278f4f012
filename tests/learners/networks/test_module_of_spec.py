"""The default module: each kind of input gets suitable layers, and outputs have the spec's shape."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from tegu.core.data.field import booleans, ids, reals
from tegu.core.data.spec import Spec
from tegu.learners.modules.checks import checked_module
from tegu.learners.networks.module_of_spec import default_module

SPECS: dict[str, tuple[Spec, type[nn.Module], str]] = {
    "numbers": (Spec.classification((7,), 3), nn.Linear, "numbers"),
    "one number": (Spec.regression((), 2), nn.Linear, "numbers"),
    "pictures": (Spec.classification((28, 28), 5), nn.Conv2d, "pictures"),
    "channels first": (Spec.classification((3, 16, 12), 5), nn.Conv2d, "pictures"),
    "channels last": (Spec.classification((33, 40, 3), 5), nn.Conv2d, "pictures"),
    "windows": (Spec.classification((50, 6), 4), nn.Conv1d, "windows"),
    "short windows": (Spec.multilabel((3, 2), 4), nn.Conv1d, "windows"),
    "an id": (Spec.classification((), 4, tokens=30), nn.Embedding, "ids"),
    "tokens": (Spec.regression((6,), tokens=90), nn.Embedding, "sequences"),
    "mixed": (Spec.classification((5,), 2, ids={1: 9, 4: 3}), nn.Embedding, "ids beside numbers"),
    "ids alone": (Spec.classification((2,), 2, ids={0: 9, 1: 3}), nn.Embedding, "ids"),
    "a volume": (Spec.classification((4, 4, 4), 2), nn.Linear, "numbers"),
    "named": (
        Spec.classification({"words": ids(40, 5), "known": booleans(5), "age": reals(), "shop": ids(6)}, 3),
        nn.Embedding,
        "numbers and an embedding of ids",
    ),
    "one name": (Spec.regression({"age": reals(2)}), nn.Linear, "numbers"),
}


def rows_of(spec: Spec, rows: int, seed: int) -> torch.Tensor:
    rng = np.random.default_rng(seed)
    if spec.x.dtype == "int64":
        return torch.from_numpy(rng.integers(0, spec.x.size, (rows, *spec.x.shape)))
    x = rng.normal(size=(rows, *spec.x.shape)).astype(np.float32)
    for position, size in spec.x.ids:
        x[:, position] = rng.integers(0, size, rows)
    return torch.from_numpy(x)


@pytest.mark.parametrize("name", SPECS)
def test_outputs_have_the_shape_of_the_spec_and_depend_on_each_input(name: str) -> None:
    spec, layer, words = SPECS[name]
    torch.manual_seed(0)
    made = default_module(spec)
    assert words in made.text
    assert any(isinstance(each, layer) for each in made.module.modules())
    module = checked_module(made.module, spec)
    first, second = rows_of(spec, 4, 1), rows_of(spec, 4, 2)
    output = module(first)
    assert output.shape == (4, spec.outputs)
    assert not torch.equal(output, module(second))
    for parameter in gradients(module, first):
        assert torch.isfinite(parameter).all()


def gradients(module: nn.Module, x: torch.Tensor) -> list[Any]:
    return list(torch.autograd.grad(module(x).square().sum(), list(module.parameters()), materialize_grads=True))


@pytest.mark.parametrize("size", [8, 28, 64, 200])
def test_a_picture_of_any_size_ends_in_few_features(size: int) -> None:
    module = default_module(Spec.classification((size, size), 3)).module
    assert sum(each.numel() for each in module.parameters()) < 400_000
