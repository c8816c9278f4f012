"""Full context embeddings: rows are embedded in the context of the whole support (Vinyals et al. 2016, appendix A).

A support row is read by an LSTM from the oldest row to the newest, and by another from the newest to the oldest. A
query row looks at the support several times: in each step of an LSTM it attends to the support's embeddings.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from tegu.core.data.tree import Tree
from tegu.learners.algorithms.episodic import module_entries, module_parameters
from tegu.learners.learner import TorchTree
from tegu.learners.operators.recurrent import lstm

__all__ = ["context_entries", "query_in_context", "support_in_context"]

_SUPPORT, _QUERY = "context/support", "context/query"
_WEIGHTS = ("weight_ih", "weight_hh", "bias_ih", "bias_hh")


def context_entries(width: int, seed: int) -> Tree:
    """First parameters of both networks for embeddings of this width, as entries of meta."""
    support, query = nn.LSTM(width, width, bidirectional=True), nn.LSTMCell(2 * width, width)
    return {**module_entries(_SUPPORT, support, seed), **module_entries(_QUERY, query, seed)}


def support_in_context(meta: TorchTree, rows: Tensor, mask: Tensor) -> Tensor:
    """Each support row in the context of all: its embedding, and what both LSTMs say after it, `[rows, width]`.

    Args:
        meta: holds the entries of `context_entries`.
        rows: `[rows, width]`, embeddings, the oldest first.
        mask: `[rows]`, the weight of each row. Rows of weight 0 have no effect on others, wherever they are.
    """
    parameters, real = module_parameters(_SUPPORT, meta), (mask > 0).to(rows.dtype)
    position = torch.arange(rows.shape[0], device=rows.device)
    later = (position.unsqueeze(0) > position.unsqueeze(1)).to(rows.dtype)
    result = rows
    for before, direction in ((later.T @ real, "_l0"), (later @ real, "_l0_reverse")):
        # Real rows come first in both directions, so that padding, which comes last, changes none of their states.
        places = (before.unsqueeze(0) == position.unsqueeze(1)).to(rows.dtype) * real
        result = result + places.T @ _states(parameters, direction, places @ rows)
    return result


def _states(parameters: TorchTree, direction: str, sequence: Tensor) -> Tensor:
    """The hidden state after each step, `[rows, width]`."""
    zero = sequence.new_zeros(1, 1, sequence.shape[1])
    weights = [parameters[f"{name}{direction}"] for name in _WEIGHTS]
    return lstm(sequence.unsqueeze(1), (zero, zero), weights, True)[0].squeeze(1)


def query_in_context(meta: TorchTree, rows: Tensor, support: Tensor, mask: Tensor, looks: int) -> Tensor:
    """Each query row in the context of the support, `[queries, width]`.

    Args:
        meta: holds the entries of `context_entries`.
        rows: `[queries, width]`, embeddings.
        support: `[rows, width]`, from `support_in_context`.
        mask: `[rows]`, the weight of each support row.
        looks: how often a query looks at the support.
    """
    by_input, by_hidden, *biases = (module_parameters(_QUERY, meta)[name] for name in _WEIGHTS)
    width = rows.shape[1]
    by_row, by_read = by_input.reshape(4 * width, 2, width).unbind(1)
    constant = rows @ by_row.T + biases[0] + biases[1]
    hidden, cell = rows, torch.zeros_like(rows)
    for _ in range(looks):
        read = _attention(hidden @ support.T, mask) @ support
        gates = (constant + read @ by_read.T + hidden @ by_hidden.T).reshape(-1, 4, width)
        enter, forget, candidate, leave = gates.unbind(1)
        cell = torch.sigmoid(forget) * cell + torch.sigmoid(enter) * torch.tanh(candidate)
        hidden = torch.sigmoid(leave) * torch.tanh(cell) + rows
    return hidden


def _attention(scores: Tensor, mask: Tensor) -> Tensor:
    """Softmax over rows, weighted by `mask`; zeros if no row has a weight."""
    highest = torch.where(mask > 0, scores, -1e9).amax(-1, keepdim=True).detach()
    weights = torch.exp((scores - highest).clamp(max=0)) * mask
    return weights / weights.sum(-1, keepdim=True).clamp(min=1e-12)
