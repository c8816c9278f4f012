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

from torch.fx.experimental.proxy_tensor import get_proxy_mode

from tegu.core.errors import CompileError
from tegu.learners.operators.scan import Step, scan

__all__ = ["gru", "lstm", "rnn_relu", "rnn_tanh"]

_State: TypeAlias = tuple[Tensor, ...]  # (hidden,), or (hidden, cell) for an LSTM
_Cell: TypeAlias = Callable[[Tensor, Tensor, _State], _State]


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


def _split(gates: Tensor, count: int) -> tuple[Tensor, ...]:
    # Not `chunk`: its gradient batched over users by `vmap` fixes the number of users.
    return gates.reshape(*gates.shape[:-1], count, -1).unbind(-2)


def _gru_cell(from_x: Tensor, from_hidden: Tensor, state: _State) -> _State:
    (hidden,) = state
    (xr, xz, xn), (hr, hz, hn) = _split(from_x, 3), _split(from_hidden, 3)
    update = torch.sigmoid(xz + hz)
    candidate = torch.tanh(xn + torch.sigmoid(xr + hr) * hn)
    return (candidate + update * (hidden - candidate),)


def _lstm_cell(from_x: Tensor, from_hidden: Tensor, state: _State) -> _State:
    enter, forget, candidate, leave = _split(from_x + from_hidden, 4)
    cell = torch.sigmoid(forget) * state[1] + torch.sigmoid(enter) * torch.tanh(candidate)
    return torch.sigmoid(leave) * torch.tanh(cell), cell


def _elman_cell(activation: Callable[[Tensor], Tensor]) -> _Cell:
    return lambda from_x, from_hidden, state: (activation(from_x + from_hidden),)


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
    sequence = x.transpose(0, 1) if batch_first else x
    last: list[_State] = []
    pieces = _grouped(weights, 4 if has_biases else 2)
    for _ in range(layers):
        directions = []
        for backward in (False, True)[: 1 + bidirectional]:
            state = tuple(part[len(last)] for part in start)
            outputs, state = _run(cell, sequence.flip(0) if backward else sequence, state, next(pieces))
            directions.append(outputs.flip(0) if backward else outputs)
            last.append(state)
        sequence = torch.cat(directions, -1) if bidirectional else directions[0]
    output = sequence.transpose(0, 1) if batch_first else sequence
    return output, tuple(torch.stack(parts) for parts in zip(*last, strict=True))


def _grouped(weights: Sequence[Tensor], size: int) -> Iterator[Sequence[Tensor]]:
    return iter([weights[i : i + size] for i in range(0, len(weights), size)])


def _run(cell: _Cell, sequence: Tensor, state: _State, weights: Sequence[Tensor]) -> tuple[Tensor, _State]:
    """Outputs `[steps, rows, hidden]` and the last state of one layer in one direction."""
    inputs, recurrent, *biases = weights
    from_x = _linear(sequence, inputs, biases[0] if biases else None)  # one product for all steps

    def step(state: _State, entries: _State, constants: _State) -> tuple[_State, _State]:
        state = cell(entries[0], F.linear(state[0], *constants), state)
        return state, state[:1]

    constants = (recurrent, *biases[1:])
    last, (outputs,) = (scan if _is_recording() else _unrolled)(step, state, (from_x,), constants)
    return outputs, last


def _linear(sequence: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    return F.linear(sequence.flatten(0, -2), weight, bias).reshape(*sequence.shape[:-1], -1)


def _is_recording() -> bool:
    return get_proxy_mode() is not None


def _unrolled(step: Step, state: _State, xs: _State, constants: _State) -> tuple[_State, _State]:
    """As `scan`, as a loop in Python."""
    collected = list[_State]()
    for entries in zip(*xs, strict=True):
        state, outputs = step(state, entries, constants)
        collected.append(outputs)
    return state, tuple(torch.stack(parts) for parts in zip(*collected, strict=True))
