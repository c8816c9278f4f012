"""Recurrent networks."""

from __future__ import annotations

import torch
from tests.zoo.entry import SEQUENCE, TOKENS, Entry, module
from torch import Tensor, nn


class Recurrent(nn.Module):
    """A classifier on the last output of a recurrent layer."""

    def __init__(self, layer: nn.Module, width: int = 3) -> None:
        super().__init__()
        self.layer, self.head = layer, nn.Linear(width, 3)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.layer(x)[0][:, -1])


class Cells(nn.Module):
    """A cell in a loop over the steps."""

    def __init__(self, cell: nn.Module) -> None:
        super().__init__()
        self.cell, self.head = cell, nn.Linear(3, 3)

    def forward(self, x: Tensor) -> Tensor:
        state = x.new_zeros((x.shape[0], 3))
        both = (state, state)
        for step in range(x.shape[1]):
            if isinstance(self.cell, nn.LSTMCell):
                both = self.cell(x[:, step], both)
            else:
                both = (self.cell(x[:, step], both[0]), state)
        return self.head(both[0])


class Causal(nn.Module):
    """A temporal convolution of two layers."""

    def __init__(self) -> None:
        super().__init__()
        self.near, self.far, self.head = nn.Conv1d(4, 4, 2), nn.Conv1d(4, 4, 2, dilation=2), nn.Linear(4, 3)

    def forward(self, x: Tensor) -> Tensor:
        x = x.transpose(1, 2)
        x = torch.relu(self.near(nn.functional.pad(x, (1, 0)))) + x
        return self.head(torch.relu(self.far(nn.functional.pad(x, (2, 0))))[:, :, -1])


def _attended(self: nn.Module, x: Tensor) -> Tensor:
    steps = self.layer(x)[0]
    return self.head((self.score(steps).softmax(1) * steps).sum(1))


RECURRENT = [
    Entry("GRU", lambda: Recurrent(nn.GRU(4, 3, batch_first=True)), SEQUENCE),
    Entry("GRU, bidirectional", lambda: Recurrent(nn.GRU(4, 3, batch_first=True, bidirectional=True), 6), SEQUENCE),
    Entry("LSTM", lambda: Recurrent(nn.LSTM(4, 3, batch_first=True)), SEQUENCE),
    Entry("LSTM of two layers", lambda: Recurrent(nn.LSTM(4, 3, 2, batch_first=True)), SEQUENCE),
    Entry("RNN", lambda: Recurrent(nn.RNN(4, 3, batch_first=True)), SEQUENCE),
    Entry("RNN with ReLU", lambda: Recurrent(nn.RNN(4, 3, batch_first=True, nonlinearity="relu")), SEQUENCE),
    Entry("GRUCell", lambda: Cells(nn.GRUCell(4, 3)), SEQUENCE),
    Entry("LSTMCell", lambda: Cells(nn.LSTMCell(4, 3)), SEQUENCE),
    Entry("RNNCell", lambda: Cells(nn.RNNCell(4, 3)), SEQUENCE),
    Entry(
        "GRU with attention",
        lambda: module(_attended, layer=nn.GRU(4, 3, batch_first=True), score=nn.Linear(3, 1), head=nn.Linear(3, 3)),
        SEQUENCE,
    ),
    Entry(
        "LSTM on tokens",
        lambda: module(
            lambda self, x: self.head(self.layer(self.table(x))[1][0][-1]),
            table=nn.Embedding(11, 4),
            layer=nn.LSTM(4, 3, batch_first=True),
            head=nn.Linear(3, 3),
        ),
        TOKENS,
    ),
    Entry("temporal convolution", Causal, SEQUENCE),
]
