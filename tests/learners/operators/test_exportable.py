"""Operators in plain arithmetic have torch's values and gradients."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F  # noqa: N812
from torch import nn
from torch.fx.experimental.proxy_tensor import make_fx

from tegu.core.errors import CompileError
from tegu.learners.operators.exportable import PlainOperators

X = torch.randn(5, 6, 4, generator=torch.Generator().manual_seed(0))
ROWS = X[:, :, 0]
LABELS = torch.tensor([0, 3, 5, 1, 1])


class Last(nn.Module):
    """The outputs and final states of a recurrent layer, in one vector."""

    def __init__(self, layer):
        super().__init__()
        self.layer = layer

    def forward(self, x):
        output, last = self.layer(x)
        ends = last if isinstance(last, tuple) else (last,)
        return torch.cat([output.flatten(), *(end.flatten() for end in ends)])


def recurrent(kind, **options):
    return Last(getattr(nn, kind)(4, 3, **options))


class Cells(nn.Module):
    """The last state of a cell in a loop, in one vector."""

    def __init__(self, kind, **options):
        super().__init__()
        self.cell = getattr(nn, kind)(4, 3, **options)

    def forward(self, x):
        state = None
        for entries in x.unbind(1):
            state = self.cell(entries, state)
        return torch.cat(state) if isinstance(state, tuple) else state


LAYERS = {
    "layer_norm": nn.LayerNorm(4),
    "layer_norm_2d": nn.LayerNorm((6, 4)),
    "layer_norm_bare": nn.LayerNorm(4, elementwise_affine=False),
    "group_norm": nn.GroupNorm(3, 6),
    "gelu": nn.Sequential(nn.Linear(4, 4), nn.GELU()),
    "gelu_tanh": nn.Sequential(nn.Linear(4, 4), nn.GELU(approximate="tanh")),
    "gru": recurrent("GRU", batch_first=True),
    "gru_no_bias": recurrent("GRU", batch_first=True, bias=False),
    "gru_two": recurrent("GRU", num_layers=2),
    "gru_both_ways": recurrent("GRU", num_layers=2, bidirectional=True, batch_first=True),
    "lstm": recurrent("LSTM", batch_first=True),
    "lstm_both_ways": recurrent("LSTM", num_layers=2, bidirectional=True),
    "rnn": recurrent("RNN", batch_first=True),
    "rnn_relu": recurrent("RNN", nonlinearity="relu"),
    "gru_cell": Cells("GRUCell"),
    "lstm_cell": Cells("LSTMCell"),
    "lstm_cell_no_bias": Cells("LSTMCell", bias=False),
    "rnn_cell": Cells("RNNCell"),
    "rnn_cell_relu": Cells("RNNCell", nonlinearity="relu"),
}


@pytest.mark.parametrize("name", LAYERS)
def test_layers(name):
    layer = LAYERS[name]
    for parameter in layer.parameters():
        nn.init.normal_(parameter, std=0.5)
    results = []
    for mode in (torch.no_grad, PlainOperators):
        x = X.clone().requires_grad_()
        with mode() if mode is PlainOperators else torch.enable_grad():
            output = layer(x)
        gradients = torch.autograd.grad(output.square().sum(), [x, *layer.parameters()])
        results.append((output, *gradients))
    for found, expected in zip(results[1], results[0], strict=True):
        torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("kind", ["GRUCell", "LSTMCell", "RNNCell"])
def test_a_cell_writes_nothing_in_place(kind):
    layer = Cells(kind)

    def gradient(x):
        with PlainOperators():
            return torch.func.grad(lambda own: layer(own).sum())(x)

    recorded = make_fx(gradient)(X)
    targets = [node.target for node in recorded.graph.nodes if isinstance(node.target, torch._ops.OpOverload)]
    assert [target for target in targets if target._schema.is_mutable] == []


LOSSES = {
    "cross_entropy": lambda x: F.cross_entropy(x, LABELS, reduction="none"),
    "cross_entropy_mean": lambda x: F.cross_entropy(x, LABELS),
    "cross_entropy_smooth": lambda x: F.cross_entropy(x, LABELS, reduction="none", label_smoothing=0.1),
    "cross_entropy_ignored": lambda x: F.cross_entropy(x, LABELS, reduction="none", ignore_index=1),
    "mse": lambda x: F.mse_loss(x, 3 * ROWS, reduction="none"),
    "mse_mean": lambda x: F.mse_loss(x, 3 * ROWS),
    "smooth_l1": lambda x: F.smooth_l1_loss(x, 3 * ROWS, reduction="none", beta=0.5),
    "huber": lambda x: F.huber_loss(x, 3 * ROWS, reduction="none", delta=2.0),
    "select": lambda x: x[:, -1],
    "select_first": lambda x: x[2],
    "slices": lambda x: x[1:3, ::2],
    "mask": lambda x: x[x > 0],
    "number_and_list": lambda x: x[:, [1, 2]],
    "true": lambda x: x[True],
}


@pytest.mark.parametrize("name", LOSSES)
def test_functions(name):
    results = []
    for mode in (torch.enable_grad, PlainOperators):
        x = ROWS.clone().requires_grad_()
        with mode():
            output = LOSSES[name](x)
        results.append((output, *torch.autograd.grad(output.square().sum(), [x])))
    for found, expected in zip(results[1], results[0], strict=True):
        torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-6)


def test_the_padding_row_of_an_embedding_learns_nothing():
    table, ids = nn.Embedding(5, 2, padding_idx=-1), torch.tensor([1, 4])
    with PlainOperators():
        table(ids).sum().backward()
    assert table.weight.grad[1].all()
    assert not table.weight.grad[4].any()


@pytest.mark.parametrize(
    ("layer", "x", "message"),
    [
        (
            nn.GRU(4, 3),
            nn.utils.rnn.pack_padded_sequence(X, [5, 5, 5, 4, 2, 1]),
            "a packed sequence has no compiled form",
        ),
        (nn.LSTM(4, 3, proj_size=2), X, "projections has no compiled form: leave out proj_size"),
        (nn.GRU(4, 3, num_layers=2, dropout=0.5), X, "drops out 0.5 of its outputs: call model.eval"),
    ],
)
def test_recurrent_layers_without_a_compiled_form(layer, x, message):
    with PlainOperators(), pytest.raises(CompileError, match=message):
        layer(x)
