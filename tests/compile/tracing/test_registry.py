from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
import torch
from torch.onnx._internal.exporter._registration import OnnxDecompMeta, ONNXRegistry

from tegu.compile.tracing.registry import Translations
from tegu.compile.tracing.translate import OPSET


def described(metas: list[OnnxDecompMeta]) -> list[tuple[Any, ...]]:
    return [(meta.onnx_function, meta.is_custom, meta.is_complex, str(meta.signature)) for meta in metas]


def targets(registry: ONNXRegistry) -> Iterator[Any]:
    for metas in registry.functions.values():
        yield metas[0].fx_target


@pytest.fixture(scope="module")
def of_torch() -> ONNXRegistry:
    return ONNXRegistry.from_torchlib(opset_version=OPSET)


def test_every_operator_has_the_translations_that_torch_finds(of_torch: ONNXRegistry) -> None:
    ours, compared = Translations(OPSET, {}), 0
    for target in targets(of_torch):
        assert described(ours.get_decomps(target)) == described(of_torch.get_decomps(target)), target
        compared += 1
    assert compared > 400


def test_own_translations_come_first(of_torch: ONNXRegistry) -> None:
    def own(x: Any) -> Any:
        return x

    target = torch.ops.aten.relu.default
    first, *others = Translations(OPSET, {target: own}).get_decomps(target)
    assert first.onnx_function is own
    assert described(others) == described(of_torch.get_decomps(target))


def test_an_unknown_operator_has_none() -> None:
    assert not Translations(OPSET, {}).is_registered(torch.ops.aten.bernoulli_.float)
