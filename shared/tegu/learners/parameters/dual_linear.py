"""SGD on linear layers whose input stays as it is: by what they give, not by their weight.

A gradient step adds to a layer's weight the product of its input X with the gradient G at its output. With few rows it
is cheaper to keep the sum of these gradients, the layer's pulls, and to move the output itself: a step moves it by
-(X X' + 1) G, without the 1 where there is no bias. Then neither pass multiplies by the weight, and a user's own weight
is never written out; users' products are left to whoever sums them.

In trees of parameters these entries stand beside the weight `name` `[out, in]`, or for it among one user's changes:

    name/outputs  [rows, out]   while adapting: what the layer gives
    name/inputs   [rows, in]    among changes: its input,
    name/pulls    [rows, out]   and its pulls: to be subtracted from the weight is pulls' inputs
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple, TypeVar

import torch
import torch.nn.functional as F  # noqa: N812 # the name torch's own documentation uses
from torch import Tensor

from tegu.learners.learner import TorchTree

__all__ = ["DualLinear", "DualState", "dual_outputs", "outputs_key", "summed_dual_weights", "without_dual_state"]

T = TypeVar("T")
_INPUTS, _PULLS, _OUTPUTS = "/inputs", "/pulls", "/outputs"


class DualLinear(NamedTuple):
    """A layer that may move so.

    Attributes:
        weight: name of its weight.
        bias: name of its bias; None where it has none that is a parameter.
        width: entries of its input.
    """

    weight: str
    bias: str | None
    width: int


class DualState(NamedTuple):
    """Where a layer is.

    Attributes:
        inputs: `[rows, in]`.
        kernel: `[rows, rows]`, how far a gradient at one row's output moves another's.
        outputs: `[rows, out]`.
        pulls: `[rows, out]`.
    """

    inputs: Tensor
    kernel: Tensor
    outputs: Tensor
    pulls: Tensor

    @classmethod
    def begin(cls, span: DualLinear, weight: Tensor, bias: Tensor | None, inputs: Tensor) -> DualState:
        """Before the first step; `bias` is the layer's, a parameter or not."""
        kernel = inputs @ inputs.T
        outputs = F.linear(inputs, weight, bias)
        return cls(inputs, kernel if span.bias is None else kernel + 1, outputs, torch.zeros_like(outputs))

    def step(self, gradient: Tensor) -> DualState:
        """After a step of this size and direction at the outputs."""
        return self._replace(outputs=self.outputs - self.kernel @ gradient, pulls=self.pulls + gradient)

    def change(self, span: DualLinear) -> TorchTree:
        """What is to be subtracted from the layer's parameters: `inputs`, `pulls` and the bias's own."""
        bias = {} if span.bias is None else {span.bias: self.pulls.sum(0)}
        return {span.weight + _INPUTS: self.inputs, span.weight + _PULLS: self.pulls, **bias}


def outputs_key(span: DualLinear) -> str:
    """The entry with what the layer gives."""
    return span.weight + _OUTPUTS


def dual_outputs(tree: TorchTree) -> dict[int, Tensor]:
    """What layers give, by the identity of their weight."""
    names = [key.removesuffix(_OUTPUTS) for key in tree if key.endswith(_OUTPUTS)]
    return {id(tree[name]): tree[name + _OUTPUTS] for name in names}


def summed_dual_weights(changes: TorchTree) -> TorchTree:
    """The sum over users of their changes `[users, ...]`, weights written out: one product for all users' rows."""
    names = [key.removesuffix(_PULLS) for key in changes if key.endswith(_PULLS)]
    weights = {name: changes[name + _PULLS].flatten(0, 1).T @ changes[name + _INPUTS].flatten(0, 1) for name in names}
    return weights | {name: value.sum(0) for name, value in without_dual_state(changes).items()}


def without_dual_state(tree: Mapping[str, T]) -> dict[str, T]:
    """The tree without what stands beside weights."""
    return {key: value for key, value in tree.items() if not key.endswith((_INPUTS, _PULLS, _OUTPUTS))}
