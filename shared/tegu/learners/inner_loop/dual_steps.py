"""Which linear layers can move by what they give, and SGD that moves them so."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F  # noqa: N812 # the name torch's own documentation uses
from torch import Tensor, nn
from torch.func import vmap

from tegu.core.data.batch import Batch
from tegu.core.data.spec import Spec
from tegu.learners.inner_loop.gradient_steps import concatenate, gradients, minibatch, step_size
from tegu.learners.learner import SummedUpdate, TorchBatch, TorchTree
from tegu.learners.modules.checks import example_rows
from tegu.learners.modules.functional import Applied
from tegu.learners.modules.losses import Loss
from tegu.learners.modules.parameter_reads import ParameterReads
from tegu.learners.parameters.dual_linear import DualLinear, DualState, outputs_key, summed_dual_weights

__all__ = ["find_dual_layers", "summed_by_dual_steps"]

_ROWS = 3
_WORTH = 16  # entries of an input: with fewer there is little to be saved


def summed_by_dual_steps(
    model: nn.Module, loss: Loss, spec: Spec, knobs: Mapping[str, float], minibatches: int = 1
) -> SummedUpdate | None:
    """Sums of changes by SGD of all parameters on support and query together, where some layers can move by spans.

    It pays up to half again as many rows as the narrowest of them has inputs: three quarters of the products, there.

    Args:
        model: the module.
        loss: as the inner loop takes it.
        spec: what the model takes and gives.
        knobs: `steps`, `lr`, `prior`.
        minibatches: see `run_steps`.
    """
    spans = find_dual_layers(model, loss, spec)
    if not spans:
        return None

    def each(meta: TorchTree, support: TorchBatch, query: TorchBatch) -> TorchTree:
        return _changes(model, loss, spans, meta, concatenate(support, query), knobs, minibatches)

    def total(meta: TorchTree, support: TorchBatch, query: TorchBatch, noise: Tensor) -> TorchTree:
        del noise
        return summed_dual_weights(vmap(each, (None, 0, 0))(meta, support, query))

    return SummedUpdate(1.5 * min(span.width for span in spans), total)


def _changes(
    model: nn.Module,
    loss: Loss,
    spans: Sequence[DualLinear],
    meta: TorchTree,
    support: TorchBatch,
    knobs: Mapping[str, float],
    minibatches: int,
) -> TorchTree:
    """What `table_rows.changes` gives after `run_steps` of SGD without momentum, some weights by spans."""
    layers = dict(zip(spans, _begun(model, loss, spans, meta, support), strict=True))
    within = {name for span in spans for name in (span.weight, span.bias)}
    own = {name: value for name, value in meta.items() if name not in within}
    for i in range(int(knobs["steps"])):
        seen = minibatch(support, i, minibatches)
        outputs = {outputs_key(span): state.outputs for span, state in layers.items()}
        scaled = gradients(model, loss, meta, own | outputs, seen, step_size(knobs, seen))
        layers = {span: state.step(scaled[outputs_key(span)]) for span, state in layers.items()}
        own = {name: value - scaled[name] for name, value in own.items()}
    changed = {name: meta[name] - value for name, value in own.items()}
    return changed | {name: value for span, state in layers.items() for name, value in state.change(span).items()}


def _begun(
    model: nn.Module, loss: Loss, spans: Sequence[DualLinear], meta: TorchTree, support: TorchBatch
) -> list[DualState]:
    calls = {call.weight: call for call in _watched(model, loss, meta, support).calls}
    return [
        DualState.begin(span, meta[span.weight], calls[span.weight].bias, calls[span.weight].inputs) for span in spans
    ]


def find_dual_layers(model: nn.Module, loss: Loss, spec: Spec) -> tuple[DualLinear, ...]:
    """The layers whose input, one vector a row, depends on no parameter; weight and bias serve this one layer, once.

    Args:
        model: the module.
        loss: as the inner loop takes it.
        spec: what the model takes and gives.
    """
    meta = {name: value.detach() for name, value in model.named_parameters()}
    batch = Batch(example_rows(spec.x, _ROWS), example_rows(spec.y, _ROWS), torch.ones(_ROWS))
    usual = _watched(model, loss, meta, batch)
    others = {name: 1 + 2 * value for name, value in meta.items()}
    moved, fewer = _watched(model, loss, others, batch), _watched(model, loss, meta, Batch(*(p[:-1] for p in batch)))

    def by_span(call: _Call) -> bool:
        elsewhere = [other for other in usual.calls if other is not call]
        shared = usual.names.union(*((other.weight, other.bias_name) for other in elsewhere))
        return (
            not {call.weight, call.bias_name} & shared - {None}
            and call.rows == (_ROWS,)
            and [other.rows for other in fewer.of(call.weight)] == [(_ROWS - 1,)]
            and [torch.equal(other.inputs, call.inputs) for other in moved.of(call.weight)] == [True]
            and call.inputs.shape[-1] >= _WORTH
        )

    return tuple(DualLinear(call.weight, call.bias_name, call.inputs.shape[1]) for call in usual.calls if by_span(call))


def _watched(model: nn.Module, loss: Loss, parameters: TorchTree, batch: TorchBatch) -> _Linear:
    watching = _Linear(parameters)
    with torch.no_grad(), watching:
        loss(Applied(model, parameters), batch, None)
    return watching


class _Call(NamedTuple):
    """A call of a linear layer with a parameter for its weight."""

    weight: str
    inputs: Tensor
    bias: Tensor | None
    bias_name: str | None

    @property
    def rows(self) -> tuple[int, ...]:
        """The shape of the inputs without their last axis."""
        return tuple(self.inputs.shape[:-1])


class _Linear(ParameterReads):
    """Notes the calls of linear layers, and parameters that were used otherwise."""

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
        self.note(inputs)
        self.calls.append(_Call(name, inputs, bias, self.name_of(bias)))
        return func(*args)
