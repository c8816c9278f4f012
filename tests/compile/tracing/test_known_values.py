"""Code may branch on what it computes from constants, while it is recorded."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.func import vjp, vmap

from tegu.compile.tracing.capture import capture

X = torch.randn(7, 4, generator=torch.Generator().manual_seed(0))
BUFFER = torch.tensor([2, 5, 3])


def _mask(x: Tensor) -> Tensor:
    mask = torch.ones(4, 4).tril() > 0
    return 2 * x if mask.logical_not().any() and not bool(mask.all()) else x


def _loop(x: Tensor) -> Tensor:
    for place in torch.arange(3).tolist():
        x = x + place
    return x * int(BUFFER.max()) + torch.eye(4).sum().item()


def _written(x: Tensor) -> Tensor:
    places = torch.zeros(4)
    places[1:3] = 1.0
    places.mul_(3)
    return x * float(places.sum())


@pytest.mark.parametrize("function", [_mask, _loop, _written])
@pytest.mark.parametrize("transform", [None, "vjp", "vmap"])
def test_constants_are_known(function: Callable[[Tensor], Tensor], transform: str | None) -> None:
    def of(values: Any) -> Any:
        if transform == "vjp":
            output, back = vjp(function, values["x"])
            return {"y": output, "g": back(torch.ones_like(output))[0]}
        return {"y": (vmap(function) if transform else function)(values["x"])}

    captured = capture(of, {"x": X}, {"x": [0]})
    torch.testing.assert_close(captured.module(X)[0], function(X))


def test_what_the_input_was_written_to_is_not_known() -> None:
    def function(values: Any) -> Any:
        total = torch.zeros(4)
        view = total[:2]
        total[0] = values["x"].sum()
        return {"y": values["x"] * (1 if view.sum() > 0 else 2)}

    with pytest.raises(Exception, match=r"[Dd]ata-dependent"):
        capture(function, {"x": X}, {"x": [0]})


def test_the_input_is_not_known() -> None:
    with pytest.raises(Exception, match=r"[Dd]ata-dependent"):
        capture(lambda values: {"y": values["x"] * (1 if values["x"].sum() > 0 else 2)}, {"x": X}, {"x": [0]})
