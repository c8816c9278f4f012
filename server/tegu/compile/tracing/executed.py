"""What a torch function does: a digest of the operators that it runs, far cheaper than to record them as a graph.

A recording with symbolic sizes takes milliseconds an operator. Here the same code runs on tensors without entries.
Neither sees the code itself: whatever an attribute, a global, a closure or a buffer changes in what is computed changes
an operator, an argument, or the bytes of a constant.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from typing import Any

import torch
from torch import Tensor
from torch._subclasses.fake_tensor import FakeTensor, FakeTensorMode
from torch.utils._python_dispatch import TorchDispatchMode, _disable_current_modes
from torch.utils._pytree import tree_flatten, tree_leaves

from tegu.compile.named_tensors import Function, Named
from tegu.compile.operators.pool_before_relu import PoolBeforeReLU
from tegu.compile.tracing.known_values import KnownValues

__all__ = ["executed_operators"]


def executed_operators(function: Function, cases: Iterable[Named]) -> str | None:
    """A digest of the operators that `function` runs on inputs of these shapes: each with its arguments, in order.

    Args:
        function: from named tensors to named tensors.
        cases: inputs by name. Only their names, shapes, strides and types count.

    Returns:
        The digest; None for a function that reads entries of its inputs, or runs what has no such description.
    """
    found = hashlib.sha256()
    for case in cases:
        operators = _Operators()
        try:
            _run(function, case, operators)
        except Exception:  # whatever it is, a recording meets it again and explains it
            return None
        found.update(operators.digest())
    return found.hexdigest()


def _run(function: Function, case: Named, operators: _Operators) -> None:
    fake = FakeTensorMode(allow_non_fake_inputs=True)
    inputs = {name: fake.from_tensor(value.clone()) for name, value in case.items()}
    for name, value in inputs.items():
        operators.name(value, f"{name} {_layout(value)}")
    with fake, operators, KnownValues(), PoolBeforeReLU():  # as in a recording
        outputs = function(inputs)
    for name, result in outputs.items():
        operators.add(f"result {name}", result)


class _Operators(TorchDispatchMode):  # type: ignore[no-untyped-call] # torch has no type for it
    """Adds every operator that runs while this mode is active to a digest."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call] # as above
        self._digest = hashlib.sha256()
        # A tensor and its name, by the tensor's id. Keeping the tensor keeps its id from being used again.
        self._names: dict[int, tuple[Tensor, str]] = {}

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        """See `torch.utils._python_dispatch`."""
        options = dict(kwargs or {})
        self.add(str(func), (args, options))
        result = func(*args, **options)
        for leaf in tree_leaves(result):
            if isinstance(leaf, Tensor) and id(leaf) not in self._names:
                self.name(leaf, f"value {len(self._names)}")
        return result

    def name(self, tensor: Tensor, name: str) -> None:
        """Give a tensor the name by which later operators refer to it."""
        self._names[id(tensor)] = tensor, name

    def add(self, name: str, values: Any) -> None:
        """Add an operator with its arguments, or a result with its value."""
        leaves, structure = tree_flatten(values)
        parts = [name, repr(structure), *map(self._described, leaves)]
        self._digest.update(repr(parts).encode())

    def digest(self) -> bytes:
        """The digest of all that was added."""
        return self._digest.digest()

    def _described(self, leaf: Any) -> str:
        if not isinstance(leaf, Tensor):
            return f"{type(leaf).__name__} {leaf!r}"
        if id(leaf) not in self._names:
            if isinstance(leaf, FakeTensor):
                raise TypeError("a tensor that no operator gave")
            self.name(leaf, _constant(leaf))
        return self._names[id(leaf)][1]


def _constant(value: Tensor) -> str:
    with _disable_current_modes():
        data = value.detach().contiguous().reshape(-1).view(torch.uint8).numpy().tobytes()
    return f"constant {_layout(value)} {hashlib.sha256(data).hexdigest()}"


def _layout(value: Tensor) -> str:
    return f"{value.dtype} {tuple(value.shape)} {value.stride()}"
