"""GRU, LSTM and Elman layers, computed step by step, with the signatures of `torch.gru` and its relatives.

torch.nn.GRU, LSTM and RNN call these functions inside `PlainOperators`. The time axis is unrolled, so its length is
fixed in a graph; the spec fixes it too.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any, TypeAlias

import torch
import torch.nn.functional as F  # noqa: N812 # the name torch's own documentation uses
from torch import Tensor

from tegu.core.errors import CompileError

__all__ = ["gru", "lstm", "rnn_relu", "rnn_tanh"]

_State: TypeAlias = tuple[Tensor, ...]  # (hidden,), or (hidden, cell) for an LSTM
_Cell: TypeAlias = Callable[[Tensor, _State, Sequence[Tensor]], _State]


def gru(x: Tensor, hidden: Tensor, *options: Any) -> tuple[Tensor, Tensor]:
    """`torch.gru`: output and last hidden state."""
    output, (last,) = _layers(_gru_cell, x, (hidden,), *options)
    return output, last


def lstm(x: Tensor, state: _State, *options: Any) -> tuple[Tensor, Tensor, Tensor]:
    """`torch.lstm`: output, last hidden state and last cell state."""
    output, (hidden, cell) = _layers(_lstm_cell, x, state, *options)
    return output, hidden, cell


def rnn_tanh(x: Tensor, hidden: Tensor, *options: Any) -> tuple[Tensor, Tensor]:
    """`torch.rnn_tanh`: output and last hidden state."""
    output, (last,) = _layers(_elman_cell(torch.tanh), x, (hidden,), *options)
    return output, last


def rnn_relu(x: Tensor, hidden: Tensor, *options: Any) -> tuple[Tensor, Tensor]:
    """`torch.rnn_relu`: output and last hidden state."""
    output, (last,) = _layers(_elman_cell(torch.relu), x, (hidden,), *options)
    return output, last


def _gates(x: Tensor, hidden: Tensor, weights: Sequence[Tensor]) -> tuple[Tensor, Tensor]:
    inputs, recurrent, *biases = weights
    from_x, from_hidden = biases or (None, None)
    return F.linear(x, inputs, from_x), F.linear(hidden, recurrent, from_hidden)


def _split(gates: Tensor, count: int) -> tuple[Tensor, ...]:
    # Not `chunk`: its gradient batched over users by `vmap` fixes the number of users.
    return gates.reshape(*gates.shape[:-1], count, -1).unbind(-2)


def _gru_cell(x: Tensor, state: _State, weights: Sequence[Tensor]) -> _State:
    (hidden,) = state
    (xr, xz, xn), (hr, hz, hn) = (_split(gate, 3) for gate in _gates(x, hidden, weights))
    update = torch.sigmoid(xz + hz)
    candidate = torch.tanh(xn + torch.sigmoid(xr + hr) * hn)
    return (candidate + update * (hidden - candidate),)


def _lstm_cell(x: Tensor, state: _State, weights: Sequence[Tensor]) -> _State:
    hidden, cell = state
    from_x, from_hidden = _gates(x, hidden, weights)
    enter, forget, candidate, leave = _split(from_x + from_hidden, 4)
    cell = torch.sigmoid(forget) * cell + torch.sigmoid(enter) * torch.tanh(candidate)
    return torch.sigmoid(leave) * torch.tanh(cell), cell


def _elman_cell(activation: Callable[[Tensor], Tensor]) -> _Cell:
    def cell(x: Tensor, state: _State, weights: Sequence[Tensor]) -> _State:
        return (activation(sum(_gates(x, state[0], weights), start=torch.zeros(()))),)

    return cell


def _layers(
    cell: _Cell,
    x: Tensor,
    start: _State,
    weights: Sequence[Tensor],
    has_biases: Any,
    layers: int = 1,
    dropout: float = 0.0,
    training: bool = False,
    bidirectional: bool = False,
    batch_first: bool = False,
) -> tuple[Tensor, _State]:
    if not isinstance(has_biases, bool):
        raise CompileError(
            "a packed sequence has no compiled form: expected a tensor; pad sequences, and mask them in the model"
        )
    if training and dropout:
        raise CompileError(f"a recurrent layer drops out {dropout:g} of its outputs: call model.eval()")
    if len(weights) != layers * (1 + bidirectional) * (4 if has_biases else 2):
        raise CompileError("a recurrent layer with projections has no compiled form: leave out proj_size")
    steps = list((x.transpose(0, 1) if batch_first else x).unbind(0))
    last: list[_State] = []
    pieces = _grouped(weights, 4 if has_biases else 2)
    for _ in range(layers):
        directions = []
        for backward in (False, True)[: 1 + bidirectional]:
            state = tuple(part[len(last)] for part in start)
            outputs, state = _run(cell, steps[::-1] if backward else steps, state, next(pieces))
            directions.append(outputs[::-1] if backward else outputs)
            last.append(state)
        steps = [torch.cat(both, -1) if bidirectional else both[0] for both in zip(*directions, strict=True)]
    output = torch.stack(steps, 1 if batch_first else 0)
    return output, tuple(torch.stack(parts) for parts in zip(*last, strict=True))


def _grouped(weights: Sequence[Tensor], size: int) -> Iterator[Sequence[Tensor]]:
    return iter([weights[i : i + size] for i in range(0, len(weights), size)])


def _run(cell: _Cell, steps: Sequence[Tensor], state: _State, weights: Sequence[Tensor]) -> tuple[list[Tensor], _State]:
    outputs = []
    for x in steps:
        state = cell(x, state, weights)
        outputs.append(state[0])
    return outputs, state
