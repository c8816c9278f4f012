"""SGD on a linear layer in its dual form: the layer's output is updated, its weight is not.

The dual form (Irie et al. 2022, arXiv:2202.05798) applies to layers whose input X does not change during adaptation.
A gradient step subtracts G' X from the weight, where G is the gradient at the layer's output. With few rows it is
cheaper to keep the sum of the gradients G and to update the output directly: a step subtracts (X X' + 1) G from it. The
1 is left out for a layer without a bias. Neither the forward nor the backward pass then multiplies by the weight, and
no user's own weight is computed. The caller that sums over users computes the products G' X for all of them at once.

In trees of parameters, these entries accompany the weight `name` `[out, in]`. Among one user's changes, the last two
replace it:

    name/outputs            [rows, out]   during adaptation: the layer's output
    name/inputs             [rows, in]    among changes: the layer's input
    name/output_gradients   [rows, out]   among changes: the sum of the gradients at the output.
                                          The change of the weight is output_gradients' inputs.
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
_INPUTS, _OUTPUT_GRADIENTS, _OUTPUTS = "/inputs", "/output_gradients", "/outputs"


class DualLinear(NamedTuple):
    """A linear layer that can be trained in dual form.

    Attributes:
        weight: name of its weight.
        bias: name of its bias; None if it has no bias that is a parameter.
        width: number of input features.
    """

    weight: str
    bias: str | None
    width: int


class DualState(NamedTuple):
    """The state of one layer during adaptation.

    Attributes:
        inputs: `[rows, in]`.
        kernel: `[rows, rows]`, the effect of a gradient at one row's output on another row's output.
        outputs: `[rows, out]`.
        output_gradients: `[rows, out]`, the sum of the steps' scaled gradients at the output.
    """

    inputs: Tensor
    kernel: Tensor
    outputs: Tensor
    output_gradients: Tensor

    @classmethod
    def begin(cls, layer: DualLinear, weight: Tensor, bias: Tensor | None, inputs: Tensor) -> DualState:
        """The state before the first step; `bias` may be a parameter or a constant."""
        kernel = inputs @ inputs.T
        outputs = F.linear(inputs, weight, bias)
        return cls(inputs, kernel if layer.bias is None else kernel + 1, outputs, torch.zeros_like(outputs))

    def step(self, gradient: Tensor) -> DualState:
        """The state after one step; `gradient` `[rows, out]` is the gradient at the output times the step size."""
        return self._replace(
            outputs=self.outputs - self.kernel @ gradient, output_gradients=self.output_gradients + gradient
        )

    def change(self, layer: DualLinear) -> TorchTree:
        """What to subtract from the layer's parameters: the two factors of the weight's change, and the bias's."""
        bias = {} if layer.bias is None else {layer.bias: self.output_gradients.sum(0)}
        return {layer.weight + _INPUTS: self.inputs, layer.weight + _OUTPUT_GRADIENTS: self.output_gradients, **bias}


def outputs_key(layer: DualLinear) -> str:
    """The name of the entry that holds the layer's output."""
    return layer.weight + _OUTPUTS


def dual_outputs(tree: TorchTree) -> dict[int, Tensor]:
    """Outputs of the layers in dual form, by the `id` of their weight."""
    names = [key.removesuffix(_OUTPUTS) for key in tree if key.endswith(_OUTPUTS)]
    return {id(tree[name]): tree[name + _OUTPUTS] for name in names}


def summed_dual_weights(changes: TorchTree) -> TorchTree:
    """The sum over users of their changes `[users, ...]`, with one matrix product per weight for all users' rows."""
    names = [key.removesuffix(_OUTPUT_GRADIENTS) for key in changes if key.endswith(_OUTPUT_GRADIENTS)]
    weights = {
        name: changes[name + _OUTPUT_GRADIENTS].flatten(0, 1).T @ changes[name + _INPUTS].flatten(0, 1)
        for name in names
    }
    return weights | {name: value.sum(0) for name, value in without_dual_state(changes).items()}


def without_dual_state(tree: Mapping[str, T]) -> dict[str, T]:
    """The tree without the entries of this module."""
    return {key: value for key, value in tree.items() if not key.endswith((_INPUTS, _OUTPUT_GRADIENTS, _OUTPUTS))}
