"""GRU, LSTM and Elman layers, computed step by step, with the signatures of `torch.gru` and its relatives.

torch.nn.GRU, LSTM and RNN call these functions inside `PlainOperators`. Recorded, a layer is one scan over time and its
gradient another, so graphs do not grow with the length. Otherwise the steps are a loop in Python, as are cells
(`cells`) in a loop of the user's own, in graphs too.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import torch
import torch.nn.functional as F  # noqa: N812 # the name torch's own documentation uses
from torch import Tensor
from torch._C import _get_dispatch_mode, _TorchDispatchModeKey
from torch.func import vjp
from torch.fx.experimental.proxy_tensor import get_proxy_mode

from tegu.core.errors import CompileError
from tegu.learners.operators.cells import GRU, LSTM, Cell, State, as_parts, elman, next_state, product
from tegu.learners.operators.scan import scan

__all__ = ["gru", "lstm", "rnn_relu", "rnn_tanh"]


def gru(x: Tensor, hidden: Tensor, *options: Any) -> tuple[Tensor, Tensor]:
    """`torch.gru`: output and last hidden state."""
    output, (last,) = _layers(GRU, x, (hidden,), *options)
    return output, last


def lstm(x: Tensor, state: State, *options: Any) -> tuple[Tensor, Tensor, Tensor]:
    """`torch.lstm`: output, last hidden state and last cell state."""
    output, (hidden, cell) = _layers(LSTM, x, state, *options)
    return output, hidden, cell


def rnn_tanh(x: Tensor, hidden: Tensor, *options: Any) -> tuple[Tensor, Tensor]:
    """`torch.rnn_tanh`: output and last hidden state."""
    output, (last,) = _layers(elman(torch.tanh), x, (hidden,), *options)
    return output, last


def rnn_relu(x: Tensor, hidden: Tensor, *options: Any) -> tuple[Tensor, Tensor]:
    """`torch.rnn_relu`: output and last hidden state."""
    output, (last,) = _layers(elman(torch.relu), x, (hidden,), *options)
    return output, last


def _layers(
    cell: Cell,
    x: Tensor,
    start: State,
    weights: Sequence[Tensor],
    has_biases: Any,
    layers: int = 1,
    dropout: float = 0.0,
    training: bool = False,
    bidirectional: bool = False,
    batch_first: bool = False,
) -> tuple[Tensor, State]:
    if not isinstance(has_biases, bool):
        raise CompileError(
            "a packed sequence has no compiled form: expected a tensor; pad sequences, and mask them in the model"
        )
    if training and dropout:
        raise CompileError(f"a recurrent layer drops out {dropout:g} of its outputs: call model.eval()")
    if len(weights) != layers * (1 + bidirectional) * (4 if has_biases else 2):
        raise CompileError("a recurrent layer with projections has no compiled form: leave out proj_size")
    sequence = x.transpose(0, 1) if batch_first else x
    last: list[State] = []
    pieces = _grouped(weights, 4 if has_biases else 2)
    for _ in range(layers):
        directions = []
        for backward in (False, True)[: 1 + bidirectional]:
            state = tuple(part[len(last)] for part in start)
            outputs, state = _run(cell, sequence.flip(0) if backward else sequence, state, next(pieces))
            directions.append(outputs.flip(0) if backward else outputs)
            last.append(state)
        sequence = _side_by_side(directions)
    output = sequence.transpose(0, 1) if batch_first else sequence
    return output, tuple(_stacked(parts) for parts in zip(*last, strict=True))


def _grouped(weights: Sequence[Tensor], size: int) -> Iterator[Sequence[Tensor]]:
    return iter([weights[i : i + size] for i in range(0, len(weights), size)])


def _run(cell: Cell, sequence: Tensor, start: State, weights: Sequence[Tensor]) -> tuple[Tensor, State]:
    """Outputs `[steps, rows, hidden]` and the last state of one layer in one direction."""
    inputs, recurrent, *biases = weights
    bias_x, bias_hidden = biases or (None, recurrent.new_zeros(len(recurrent)))
    from_x = as_parts(product(sequence, inputs, bias_x), cell.gates)  # one product for all steps
    states: State
    if get_proxy_mode() is None and _get_dispatch_mode(_TorchDispatchModeKey.FAKE) is None:  # nothing records
        states = _unrolled(cell, from_x, recurrent, bias_hidden, *start)
    else:
        states = _Recurrence.apply(cell, from_x, recurrent, bias_hidden, *start)  # type: ignore[no-untyped-call] # torch does not annotate it
    return states[0], tuple(part.select(0, -1) for part in states)


def _unrolled(cell: Cell, from_x: Tensor, weight: Tensor, bias: Tensor, *state: Tensor) -> State:
    """The states `[steps, rows, hidden]` after each step."""
    states = list[State]()
    for entry in from_x.unbind(0):
        state = next_state(cell, entry, weight, bias, state)
        states.append(state)
    return tuple(torch.stack(parts) for parts in zip(*states, strict=True))


class _Recurrence(torch.autograd.Function):
    """`_unrolled` as one scan, and its gradient as another."""

    generate_vmap_rule = True

    @staticmethod
    def forward(cell: Cell, from_x: Tensor, weight: Tensor, bias: Tensor, *start: Tensor) -> State:
        def step(state: State, entries: State, constants: State) -> tuple[State, State]:
            state = next_state(cell, entries[0], constants[0], constants[1], state)
            return state, state

        return scan(step, start, (from_x,), (weight, bias))[1]

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: State) -> None:
        ctx.cell, *tensors = inputs
        ctx.save_for_backward(*tensors, *output)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        cell: Cell = ctx.cell
        from_x, weight, bias, *others = ctx.saved_tensors
        parts = len(grads)
        before = tuple(_shifted(*both) for both in zip(others[:parts], others[parts:], strict=True))
        from_hidden = as_parts(product(before[0], weight, bias), cell.gates)
        slopes = _slopes(cell, from_x, from_hidden, tuple(before[part] for part in cell.direct))

        def step(state: State, entries: State, constants: State) -> tuple[State, State]:
            own = tuple(a + b for a, b in zip(state, entries[:parts], strict=True))
            by_hidden, *by_direct = _weighted(own, _regrouped(entries[parts:], parts))
            earlier = dict(zip(cell.direct, by_direct, strict=True))
            by_product = by_hidden.flatten(-2) @ constants[0]
            earlier[0] = earlier[0] + by_product if 0 in earlier else by_product
            return tuple(earlier[part] for part in range(parts)), own

        entries = (*grads, *(slope for each in slopes for slope in each[1:]))
        zeros = tuple(torch.zeros_like(part) for part in others[:parts])
        by_start, own = scan(step, zeros, tuple(entry.flip(0) for entry in entries), (weight,))
        own = tuple(part.flip(0) for part in own)
        by_x, by_hidden, *_ = _weighted(own, slopes)
        rows = by_hidden.flatten(-2).flatten(0, -2)
        return (None, by_x, rows.T @ before[0].flatten(0, -2), rows.sum(0), *by_start)


def _shifted(start: Tensor, states: Tensor) -> Tensor:
    """The states before each step."""
    others = [0, 0] * start.dim()
    return F.pad(start.unsqueeze(0), [*others, 0, states.shape[0] - 1]) + F.pad(states, [*others, 1, -1])


def _stacked(parts: Sequence[Tensor]) -> Tensor:
    """As `torch.stack`, by padding: the number of users is fixed in an exported `torch.stack`."""
    others, last = [0, 0] * parts[0].dim(), len(parts) - 1
    return _sum([F.pad(part.unsqueeze(0), [*others, i, last - i]) for i, part in enumerate(parts)])


def _side_by_side(parts: Sequence[Tensor]) -> Tensor:
    """As `torch.cat` along the last axis of parts of one size, by padding as in `_stacked`."""
    size, last = parts[0].shape[-1], len(parts) - 1
    return _sum([F.pad(part, [i * size, (last - i) * size]) for i, part in enumerate(parts)])


def _sum(terms: Sequence[Tensor]) -> Tensor:
    return functools.reduce(torch.add, terms)


def _slopes(cell: Cell, from_x: Tensor, from_hidden: Tensor, direct: State) -> list[State]:
    """For each part of the next state, its derivatives by what a step reads: each depends on one entry of each."""
    found = vjp(lambda x, hidden, *direct: cell.next_state(x, hidden, direct), from_x, from_hidden, *direct)
    states: State = found[0]
    pullback: Callable[[State], State] = found[1]
    return [
        pullback(tuple((torch.ones_like if index == part else torch.zeros_like)(s) for index, s in enumerate(states)))
        for part in range(len(states))
    ]


def _weighted(own: State, slopes: Sequence[State]) -> list[Tensor]:
    """Gradients by what a step reads, given those by the parts of the next state."""
    totals = [
        [g * slope if slope.dim() == g.dim() else g.unsqueeze(-2) * slope for slope in each]
        for g, each in zip(own, slopes, strict=True)
    ]
    return [_sum(terms) for terms in zip(*totals, strict=True)]


def _regrouped(slopes: State, parts: int) -> list[State]:
    return list(zip(*[iter(slopes)] * (len(slopes) // parts), strict=True))
