"""One step of a GRU, an LSTM or an Elman network, and `torch.gru_cell` and its relatives in plain arithmetic.

torch.nn.GRUCell, LSTMCell and RNNCell call these functions inside `PlainOperators`. Torch's own write into the gates in
place, so that each would be recorded twice.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple, TypeAlias

import torch
import torch.nn.functional as F  # noqa: N812 # the name torch's own documentation uses
from torch import Tensor

__all__ = [
    "GRU",
    "LSTM",
    "Cell",
    "State",
    "as_parts",
    "elman",
    "gru_cell",
    "lstm_cell",
    "next_state",
    "product",
    "rnn_relu_cell",
    "rnn_tanh_cell",
]

State: TypeAlias = tuple[Tensor, ...]  # (hidden,), or (hidden, cell) for an LSTM


class Cell(NamedTuple):
    """One step of a layer, without its matrix products.

    Attributes:
        gates: what a step reads of the products, in parts of the hidden state's size.
        direct: which parts of the state a step reads besides the products.
        next_state: (product with the input `[..., gates, hidden]`, product with the hidden state, direct parts of the
            state `[..., hidden]`) -> the next state.
    """

    gates: int
    direct: tuple[int, ...]
    next_state: Callable[[Tensor, Tensor, State], State]


def _gru_step(from_x: Tensor, from_hidden: Tensor, direct: State) -> State:
    (hidden,) = direct
    # Not `chunk`: its gradient batched over users by `vmap` fixes the number of users.
    (xr, xz, xn), (hr, hz, hn) = from_x.unbind(-2), from_hidden.unbind(-2)
    update = torch.sigmoid(xz + hz)
    candidate = torch.tanh(xn + torch.sigmoid(xr + hr) * hn)
    return (candidate + update * (hidden - candidate),)


def _lstm_step(from_x: Tensor, from_hidden: Tensor, direct: State) -> State:
    enter, forget, candidate, leave = (from_x + from_hidden).unbind(-2)
    cell = torch.sigmoid(forget) * direct[0] + torch.sigmoid(enter) * torch.tanh(candidate)
    return torch.sigmoid(leave) * torch.tanh(cell), cell


def elman(activation: Callable[[Tensor], Tensor]) -> Cell:
    """The cell of an Elman network."""
    return Cell(1, (), lambda from_x, from_hidden, _: (activation(from_x + from_hidden).squeeze(-2),))


GRU, LSTM = Cell(3, (0,), _gru_step), Cell(4, (1,), _lstm_step)


def next_state(cell: Cell, from_x: Tensor, weight: Tensor, bias: Tensor | None, state: State) -> State:
    """The state after a step, from the input's product `[..., gates, hidden]` and the weight of the hidden state."""
    from_hidden = as_parts(product(state[0], weight, bias), cell.gates)
    return cell.next_state(from_x, from_hidden, tuple(state[part] for part in cell.direct))


def product(x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    """`x` `[..., features]` through a linear layer."""
    return F.linear(x.flatten(0, -2), weight, bias).reshape(*x.shape[:-1], -1)


def as_parts(gates: Tensor, count: int) -> Tensor:
    """The last axis in `count` parts of one size, `[..., count, size]`."""
    return gates.reshape(*gates.shape[:-1], count, -1)


def gru_cell(x: Tensor, hidden: Tensor, *weights: Any) -> Tensor:
    """`torch.gru_cell`: the next hidden state `[rows, hidden]`."""
    return _stepped(GRU, x, (hidden,), *weights)[0]


def lstm_cell(x: Tensor, state: State, *weights: Any) -> State:
    """`torch.lstm_cell`: the next hidden state and the next cell state, both `[rows, hidden]`."""
    return _stepped(LSTM, x, state, *weights)


def rnn_tanh_cell(x: Tensor, hidden: Tensor, *weights: Any) -> Tensor:
    """`torch.rnn_tanh_cell`: the next hidden state `[rows, hidden]`."""
    return _stepped(elman(torch.tanh), x, (hidden,), *weights)[0]


def rnn_relu_cell(x: Tensor, hidden: Tensor, *weights: Any) -> Tensor:
    """`torch.rnn_relu_cell`: the next hidden state `[rows, hidden]`."""
    return _stepped(elman(torch.relu), x, (hidden,), *weights)[0]


def _stepped(
    cell: Cell,
    x: Tensor,
    state: State,
    inputs: Tensor,
    recurrent: Tensor,
    bias_x: Tensor | None = None,
    bias_hidden: Tensor | None = None,
) -> State:
    from_x = as_parts(product(x, inputs, bias_x), cell.gates)
    return next_state(cell, from_x, recurrent, bias_hidden, state)
