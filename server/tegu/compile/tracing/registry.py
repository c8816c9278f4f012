"""The translations of operators to ONNX: this package's own, and those of torch and onnxscript.

`ONNXRegistry.from_torchlib` parses the source of each of onnxscript's 500 translations and infers its signature. That
takes two seconds of every process. A model needs a few dozen of them, so that `Translations` reads one when a graph
first has its operator.
"""

from __future__ import annotations

import math
import operator
from collections.abc import Callable, Mapping
from typing import Any

from onnxscript.function_libs.torch_lib import ops, registration
from torch._ops import OpOverload
from torch.onnx._internal.exporter._registration import OnnxDecompMeta, ONNXRegistry
from torch.onnx._internal.exporter._torchlib._torchlib_registry import get_torchlib_ops

__all__ = ["Translations"]

_FILLED_BY = ops  # importing it registers onnxscript's translations
_OF_PYTHON = {"_operator": operator, "math": math}  # namespaces of onnxscript's names


class Translations(ONNXRegistry):
    """A registry that reads onnxscript's translations of an operator when it is asked for them.

    Args:
        opset: ONNX opset of the translations.
        own: translations that come before all others, by operator.
    """

    def __init__(self, opset: int, own: Mapping[Any, Callable[..., Any]]) -> None:
        super().__init__()
        self._opset_version = opset
        for meta in get_torchlib_ops():
            self._register(meta.fx_target, meta)
        self._cleanup_registry_based_on_opset_version()
        for target, translation in own.items():
            self.register_op(target, translation)
        self._read: dict[Any, list[OnnxDecompMeta]] = {}
        self._python_names = _names_of_python_functions()

    def get_decomps(self, target: Any) -> list[OnnxDecompMeta]:
        """The translations of an operator, this package's own first."""
        name = target.name() if isinstance(target, OpOverload) else self._python_names.get(target)  # type: ignore[no-untyped-call]
        if name not in self._read:
            self._read[name] = _translations_of_onnxscript(name, target)
        return super().get_decomps(target) + self._read[name]


def _translations_of_onnxscript(name: str | None, target: Any) -> list[OnnxDecompMeta]:
    if name is None or name not in registration.default_registry:
        return []
    found = registration.default_registry[name]
    each = [(function, False) for function in found.overloads] + [(function, True) for function in found.complex]
    return [OnnxDecompMeta(function, target, signature=None, is_complex=is_complex) for function, is_complex in each]


def _names_of_python_functions() -> dict[Any, str]:
    """The functions of `operator` and `math` that onnxscript translates, which graphs of sizes have."""
    names = (name.split("::") for name in registration.default_registry)
    return {
        getattr(_OF_PYTHON[namespace], function): f"{namespace}::{function}"
        for namespace, function in names
        if namespace in _OF_PYTHON and hasattr(_OF_PYTHON[namespace], function)
    }
