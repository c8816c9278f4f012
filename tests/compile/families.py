"""Families of small models; each compiles in a second or two."""

from __future__ import annotations

from typing import Any, NamedTuple

import pytest
import torch
from torch import Tensor, nn

from tegu.core.data.spec import Spec
from tegu.learners import reptile
from tegu.learners.learner import Learner

ROWS_OF_4, IMAGE = Spec.classification((4,), 3), Spec.classification((2, 9, 9), 3)
RATINGS = Spec.regression((), items=50)


class Family(NamedTuple):
    """A model and the options of `reptile`, with one inner step unless `options` sets another number."""

    model: nn.Module
    spec: Spec
    options: dict[str, Any]

    def learner(self) -> Learner:
        return reptile(self.model, self.spec, **{"steps": 1, "lr": 0.1, **self.options}, init="fresh")


class Tokens(nn.Module):
    """A text model with a padding index, a buffer, and a mean over positions."""

    def __init__(self) -> None:
        super().__init__()
        self.table = nn.Embedding(11, 4, padding_idx=0)
        self.register_buffer("positions", torch.randn(5, 4))
        self.head = nn.Linear(4, 3)

    def forward(self, x: Tensor) -> Tensor:
        output: Tensor = self.head((self.table(x) + self.positions).mean(1))
        return output


class Recurrent(nn.Module):
    """A classifier on the last output of a recurrent layer."""

    def __init__(self, kind: str, **options: Any) -> None:
        super().__init__()
        self.layer = getattr(nn, kind)(4, 3, batch_first=True, **options)
        self.head = nn.Linear(6 if options.get("bidirectional") else 3, 3)

    def forward(self, x: Tensor) -> Tensor:
        output: Tensor = self.head(self.layer(x)[0][:, -1])
        return output


class Factors(nn.Module):
    """Scores of items for one user."""

    def __init__(self) -> None:
        super().__init__()
        self.items = nn.Embedding(12, 4)
        self.user = nn.Parameter(torch.randn(4))

    def forward(self, ids: Tensor) -> Tensor:
        output: Tensor = self.items(ids) @ self.user
        return output


class Ratings(nn.Module):
    """Ratings of items by one user: factors and biases of the items, and factors of the user."""

    def __init__(self, items: int = 50, factors: int = 4) -> None:
        super().__init__()
        self.items = nn.Embedding(items, factors)
        self.bias = nn.Embedding(items, 1)
        self.user = nn.Parameter(torch.randn(factors))
        self.mean = nn.Parameter(torch.zeros(1))

    def forward(self, ids: Tensor) -> Tensor:
        output: Tensor = self.mean + self.bias(ids) + (self.items(ids) @ self.user).unsqueeze(-1)
        return output


class Sentences(nn.Module):
    """A text model that reads its vocabulary twice, with a padding token and position embeddings."""

    def __init__(self) -> None:
        super().__init__()
        self.table = nn.Embedding(200, 4, padding_idx=0)
        self.positions = nn.Embedding(64, 4)
        self.head = nn.Linear(4, 3)

    def forward(self, x: Tensor) -> Tensor:
        read = self.table(x) + self.positions(torch.arange(x.shape[-1]))
        output: Tensor = self.head(torch.tanh(read).mean(1) * self.table(x[:, 0]))
        return output


def mlp(*layers: nn.Module, outputs: int = 3) -> nn.Sequential:
    return nn.Sequential(nn.Linear(4, 6), *layers, nn.Linear(6, outputs))


def wide(*layers: nn.Module) -> nn.Sequential:
    """A network whose first layer can be adapted in the dual form."""
    return nn.Sequential(nn.Linear(16, 6), *layers, nn.Tanh(), nn.Linear(6, 3))


def image(*layers: nn.Module, features: int) -> nn.Sequential:
    return nn.Sequential(*layers, nn.Flatten(), nn.Linear(features, 3))


def _smooth(output: Tensor, y: Tensor) -> Tensor:
    return nn.functional.smooth_l1_loss(output, y, reduction="none").mean(-1)


def _torch_cross_entropy(output: Tensor, y: Tensor) -> Tensor:
    return nn.functional.cross_entropy(output, y, reduction="none")


CONV = nn.Conv2d(2, 4, 3, padding=1)
SERIES, SEQUENCE = Spec.classification((2, 9), 3), Spec.classification((2, 4), 3)

BATCHED = {
    "relu": Family(mlp(nn.ReLU()), ROWS_OF_4, {"steps": 3, "prior": 2.0}),
    "relu_in_place": Family(mlp(nn.ReLU(inplace=True)), ROWS_OF_4, {}),
    "gelu_layernorm": Family(mlp(nn.LayerNorm(6), nn.GELU(), nn.Dropout(0.5)), ROWS_OF_4, {}),
    "groupnorm_momentum": Family(
        mlp(nn.GroupNorm(2, 6), nn.Tanh()), ROWS_OF_4, {"steps": 2, "momentum": 0.9, "minibatches": 2}
    ),
    "adam": Family(mlp(nn.Tanh()), ROWS_OF_4, {"inner": "adam", "steps": 2}),
    "second_order": Family(mlp(nn.Tanh()), ROWS_OF_4, {"adapted_parameters": ["2"], "steps": 2}),
    "regression": Family(mlp(nn.Tanh(), outputs=2), Spec.regression((4,), 2), {"loss": _smooth}),
    "ranking": Family(Factors(), Spec.ranking(12), {"adapted_parameters": ["user"], "steps": 2}),
    "tokens": Family(Tokens(), Spec.classification((5,), 3, tokens=11), {"loss": _torch_cross_entropy}),
    "gru": Family(Recurrent("GRU"), SEQUENCE, {}),
    "rows": Family(Ratings(), RATINGS, {"steps": 2}),
    "rows_momentum": Family(Ratings(), RATINGS, {"steps": 3, "momentum": 0.9, "minibatches": 2}),
    "rows_adam": Family(Ratings(), RATINGS, {"steps": 2, "inner": "adam"}),
    "rows_in_part": Family(Ratings(), RATINGS, {"steps": 2, "adapted_parameters": ["bias", "user"]}),
    "wide": Family(wide(), Spec.classification((16,), 3), {"steps": 3, "prior": 2.0}),
    "wide_minibatches": Family(wide(nn.LayerNorm(6)), Spec.classification((16,), 3), {"steps": 3, "minibatches": 2}),
    "learned_layers": Family(mlp(nn.Tanh()), ROWS_OF_4, {"steps": 2, "prior": 2.0, "learn_step_sizes": "layers"}),
    "learned_parameters": Family(
        mlp(nn.Tanh()), ROWS_OF_4, {"steps": 2, "momentum": 0.9, "minibatches": 2, "learn_step_sizes": "parameters"}
    ),
    "learned_adam": Family(mlp(nn.Tanh()), ROWS_OF_4, {"steps": 2, "inner": "adam", "learn_step_sizes": "layers"}),
    "learned_in_part": Family(
        mlp(nn.Tanh()), ROWS_OF_4, {"steps": 2, "adapted_parameters": ["2"], "learn_step_sizes": "parameters"}
    ),
    "learned_rows": Family(Ratings(), RATINGS, {"steps": 2, "prior": 3.0, "learn_step_sizes": "layers"}),
    "rows_read_twice": Family(Sentences(), Spec.classification((3,), 3, tokens=200), {"steps": 2}),
}

# Convolutions have no form batched over users.
SINGLE = {
    "conv1d_strided": Family(
        nn.Sequential(nn.Conv1d(2, 4, 3, stride=2, padding=1), nn.MaxPool1d(2), nn.Flatten(), nn.Linear(8, 3)),
        SERIES,
        {},
    ),
    "conv_strided_groupnorm": Family(
        image(nn.Conv2d(2, 4, 4, stride=3, padding=1), nn.GroupNorm(2, 4), nn.ReLU(), features=36), IMAGE, {}
    ),
    "conv_filtered": Family(
        image(CONV, nn.ReLU(), nn.Conv2d(4, 8, 3), nn.Conv2d(8, 16, 5, padding="same"), features=784), IMAGE, {}
    ),
    "conv_filtered_maxpool": Family(
        image(nn.Conv2d(2, 16, 3), nn.ReLU(), nn.Conv2d(16, 16, 5, padding=2), nn.MaxPool2d(2), features=144),
        IMAGE,
        {"steps": 2},
    ),
    "conv_dilated": Family(image(nn.Conv2d(2, 3, 3, dilation=2, padding=1), nn.ReLU(), features=147), IMAGE, {}),
    "conv_groups": Family(
        image(CONV, nn.ReLU(), nn.Conv2d(4, 8, 3, groups=2, stride=2), nn.AdaptiveAvgPool2d(1), features=8), IMAGE, {}
    ),
    "conv_depthwise_avgpool": Family(
        image(CONV, nn.Conv2d(4, 4, 3, groups=4, padding=1), nn.AvgPool2d(3), features=36), IMAGE, {}
    ),
    "avgpool_overlapping": Family(
        image(CONV, nn.AvgPool2d(3, 2, 1, count_include_pad=False), nn.ReLU(), features=100), IMAGE, {}
    ),
    "adaptive_avgpool": Family(image(CONV, nn.AdaptiveAvgPool2d(3), nn.ReLU(), features=36), IMAGE, {}),
    "maxpool": Family(image(CONV, nn.MaxPool2d(2), nn.ReLU(), features=64), IMAGE, {}),
    "relu_maxpool": Family(image(CONV, nn.ReLU(), nn.MaxPool2d((2, 3)), features=48), IMAGE, {"steps": 2}),
    "maxpool_overlapping": Family(image(CONV, nn.ReLU(), nn.MaxPool2d(3, 2, 1), features=100), IMAGE, {}),
    "conv_before_what_adapts": Family(
        image(CONV, nn.ReLU(), nn.MaxPool2d(3, 2, 1), features=100), IMAGE, {"adapted_parameters": ["4"], "steps": 2}
    ),
}

# These compile in a quarter of a minute.
LONG = {
    "gru_second_order": Family(Recurrent("GRU"), SEQUENCE, {"adapted_parameters": ["layer.weight_hh_l0", "head"]}),
    "lstm_two_layers": Family(Recurrent("LSTM", num_layers=2), SEQUENCE, {}),
    "rnn_both_ways": Family(Recurrent("RNN", bidirectional=True, bias=False), SEQUENCE, {"learn_step_sizes": "layers"}),
}

FAMILIES = {**BATCHED, **SINGLE, **LONG}
SLOW = [pytest.param(name, marks=pytest.mark.slow) for name in LONG]
