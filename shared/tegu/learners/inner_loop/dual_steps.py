"""SGD with linear layers in dual form (see `parameters.dual_linear`), and the layers for which this is possible."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F  # noqa: N812 # the name torch's own documentation uses
from torch import Tensor, nn
from torch.func import vmap

from tegu.core.data.batch import Batch
from tegu.core.data.spec import Spec
from tegu.core.data.tree import trained_part
from tegu.learners.inner_loop.gradient_steps import concatenate, gradients, minibatch, step_size
from tegu.learners.inner_loop.label_order import for_minibatches
from tegu.learners.learner import SummedUpdate, TorchBatch, TorchTree
from tegu.learners.modules.checks import example_rows
from tegu.learners.modules.functional import Applied
from tegu.learners.modules.initial_values import fixed_parameter_names
from tegu.learners.modules.losses import Loss
from tegu.learners.modules.parameter_reads import ParameterReads
from tegu.learners.parameters.dual_linear import DualLinear, DualState, outputs_key, summed_dual_weights

__all__ = ["find_dual_layers", "summed_by_dual_steps"]

_ROWS = 3
_MIN_WIDTH = 16  # input features; with fewer, little time is saved


def summed_by_dual_steps(
    model: nn.Module, loss: Loss, spec: Spec, knobs: Mapping[str, float], minibatches: int = 1
) -> SummedUpdate | None:
    """The users' summed changes by SGD on support and query together, with some layers in dual form.

    It is faster for up to 1.5 times as many rows as the narrowest of these layers has inputs. At that number it takes
    three quarters of the products.

    Args:
        model: the module.
        loss: the loss per row.
        spec: the model's inputs and outputs.
        knobs: the knobs `steps`, `lr` and `prior`.
        minibatches: see `run_steps`.

    Returns:
        None if no layer can be trained in dual form.
    """
    layers = find_dual_layers(model, loss, spec)
    if not layers:
        return None

    def each(meta: TorchTree, support: TorchBatch, query: TorchBatch) -> TorchTree:
        rows = for_minibatches(concatenate(support, query), spec, minibatches)
        return _changes(model, loss, layers, meta, rows, knobs, minibatches)

    def total(meta: TorchTree, support: TorchBatch, query: TorchBatch, noise: Tensor) -> TorchTree:
        del noise
        return summed_dual_weights(vmap(each, (None, 0, 0))(meta, support, query))

    return SummedUpdate(1.5 * min(layer.width for layer in layers), total)


def _changes(
    model: nn.Module,
    loss: Loss,
    layers: Sequence[DualLinear],
    meta: TorchTree,
    support: TorchBatch,
    knobs: Mapping[str, float],
    minibatches: int,
) -> TorchTree:
    """One user's changes after `run_steps` of SGD without momentum, with `layers` in dual form."""
    states = dict(zip(layers, _begin(model, loss, layers, meta, support), strict=True))
    dual = {name for layer in layers for name in (layer.weight, layer.bias)}
    trained = trained_part(meta, fixed_parameter_names(model))
    own = {name: value for name, value in trained.items() if name not in dual}
    for i in range(int(knobs["steps"])):
        rows = minibatch(support, i, minibatches)
        outputs = {outputs_key(layer): state.outputs for layer, state in states.items()}
        scaled = gradients(model, loss, meta, own | outputs, rows, step_size(knobs, rows))
        states = {layer: state.step(scaled[outputs_key(layer)]) for layer, state in states.items()}
        own = {name: value - scaled[name] for name, value in own.items()}
    changed = {name: meta[name] - value for name, value in own.items()}
    return changed | {name: value for layer, state in states.items() for name, value in state.change(layer).items()}


def _begin(
    model: nn.Module, loss: Loss, layers: Sequence[DualLinear], meta: TorchTree, support: TorchBatch
) -> list[DualState]:
    calls = {call.weight: call for call in _record_calls(model, loss, meta, support).calls}
    return [
        DualState.begin(layer, meta[layer.weight], calls[layer.weight].bias, calls[layer.weight].inputs)
        for layer in layers
    ]


def find_dual_layers(model: nn.Module, loss: Loss, spec: Spec) -> tuple[DualLinear, ...]:
    """The linear layers that can be trained in dual form.

    The input of such a layer is one vector per row and depends on no parameter that training changes. The loss uses the
    layer's weight and bias once, in this layer only, and neither is fixed. The layer has at least 16 input features.

    Args:
        model: the module.
        loss: the loss per row.
        spec: the model's inputs and outputs.
    """
    meta = {name: value.detach() for name, value in model.named_parameters()}
    batch = Batch(example_rows(spec.x, _ROWS), example_rows(spec.y, _ROWS), torch.ones(_ROWS))
    reference = _record_calls(model, loss, meta, batch)
    fixed = fixed_parameter_names(model)
    others = {name: value if name in fixed else 1 + 2 * value for name, value in meta.items()}
    changed, fewer = (
        _record_calls(model, loss, others, batch),
        _record_calls(model, loss, meta, Batch(*(p[:-1] for p in batch))),
    )

    def is_dual(call: _Call) -> bool:
        elsewhere = [other for other in reference.calls if other is not call]
        shared = reference.names.union(*((other.weight, other.bias_name) for other in elsewhere))
        return (
            not {call.weight, call.bias_name} & shared.union(fixed) - {None}
            and call.rows == (_ROWS,)
            and [other.rows for other in fewer.of(call.weight)] == [(_ROWS - 1,)]
            and [torch.equal(other.inputs, call.inputs) for other in changed.of(call.weight)] == [True]
            and call.inputs.shape[-1] >= _MIN_WIDTH
        )

    return tuple(
        DualLinear(call.weight, call.bias_name, call.inputs.shape[1]) for call in reference.calls if is_dual(call)
    )


def _record_calls(model: nn.Module, loss: Loss, parameters: TorchTree, batch: TorchBatch) -> _LinearCalls:
    recorder = _LinearCalls(parameters)
    with torch.no_grad(), recorder:
        loss(Applied(model, parameters), batch, None)
    return recorder


class _Call(NamedTuple):
    """A call of a linear layer whose weight is a parameter."""

    weight: str
    inputs: Tensor
    bias: Tensor | None
    bias_name: str | None

    @property
    def rows(self) -> tuple[int, ...]:
        """The shape of the inputs without their last axis."""
        return tuple(self.inputs.shape[:-1])


class _LinearCalls(ParameterReads):
    """Records the calls of linear layers, and the names of parameters that were used in another way."""

    def __init__(self, parameters: TorchTree) -> None:
        super().__init__(parameters)
        self.calls: list[_Call] = []

    def of(self, weight: str) -> list[_Call]:
        """The calls with this weight."""
        return [call for call in self.calls if call.weight == weight]

    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: tuple[Any, ...] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        """See `torch.overrides`."""
        name = self.name_of(args[1]) if func is F.linear and len(args) in (2, 3) and not kwargs else None
        if name is None:
            return super().__torch_function__(func, types, args, kwargs)
        inputs, _, bias = (*args, None)[:3]
        self.record(inputs)
        self.calls.append(_Call(name, inputs, bias, self.name_of(bias)))
        return func(*args)
