"""Norms, dropout, parametrisations, containers, and layers of two inputs."""

from __future__ import annotations

import torch
import torch.nn.functional as F  # noqa: N812
from tests.zoo.entry import IMAGE, SEQUENCE, SERIES, Entry, ended, mlp, module
from torch import Tensor, nn
from torch.nn.utils import parametrizations


class Wave(nn.Module):
    """Custom parametrisation: weights within (-1, 1)."""

    def forward(self, weight: Tensor) -> Tensor:
        return torch.tanh(weight)


class Custom(nn.Module):
    """A linear layer under a parametrisation of the user's own."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(4, 6)
        nn.utils.parametrize.register_parametrization(self.layer, "weight", Wave())
        self.head = nn.Linear(6, 3)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(torch.relu(self.layer(x)))


def _batch_norm() -> nn.Module:
    norm = nn.BatchNorm1d(6)
    norm.running_mean = torch.randn(6)
    norm.running_var = torch.rand(6) + 0.5
    return mlp(norm, nn.ReLU())


def _fixed() -> nn.Module:
    model = mlp(nn.ReLU())
    model[0].requires_grad_(False)
    return model


def _plain_list() -> nn.Module:
    return module(
        lambda self, x: self.layers[1](torch.relu(self.layers[0](x))) + self.bias,
        layers=[nn.Linear(4, 6), nn.Linear(6, 3)],
        bias=nn.Parameter(torch.zeros(3)),
    )


LAYERS = [
    Entry("LayerNorm", lambda: mlp(nn.LayerNorm(6), nn.ReLU())),
    Entry("LayerNorm without weights", lambda: mlp(nn.LayerNorm(6, elementwise_affine=False), nn.ReLU())),
    Entry("LayerNorm over two axes", lambda: ended(SEQUENCE, nn.LayerNorm((5, 4)), nn.Tanh()), SEQUENCE),
    Entry("RMSNorm", lambda: mlp(nn.RMSNorm(6), nn.ReLU())),
    Entry("RMSNorm with eps", lambda: mlp(nn.RMSNorm(6, eps=1e-3), nn.Tanh())),
    Entry("GroupNorm", lambda: ended(IMAGE, nn.Conv2d(2, 4, 3, bias=False), nn.GroupNorm(2, 4), nn.ReLU()), IMAGE),
    Entry("InstanceNorm1d", lambda: ended(SERIES, nn.Conv1d(2, 4, 3), nn.InstanceNorm1d(4, affine=True)), SERIES),
    Entry("InstanceNorm2d", lambda: ended(IMAGE, nn.Conv2d(2, 4, 3), nn.InstanceNorm2d(4), nn.ReLU()), IMAGE),
    Entry("LocalResponseNorm", lambda: ended(IMAGE, nn.Conv2d(2, 4, 3), nn.LocalResponseNorm(3), nn.ReLU()), IMAGE),
    Entry("BatchNorm1d in evaluation", _batch_norm),
    Entry(
        "BatchNorm1d without statistics",
        lambda: mlp(nn.BatchNorm1d(6, track_running_stats=False)),
        refused="BatchNorm1d",
    ),
    Entry(
        "F.normalize",
        lambda: module(
            lambda self, x: self.head(F.normalize(self.body(x))), body=nn.Linear(4, 6), head=nn.Linear(6, 3)
        ),
    ),
    Entry("Dropout in evaluation", lambda: mlp(nn.Dropout(0.5), nn.ReLU())),
    Entry("AlphaDropout in evaluation", lambda: mlp(nn.SELU(), nn.AlphaDropout(0.2))),
    Entry("Dropout2d in evaluation", lambda: ended(IMAGE, nn.Conv2d(2, 4, 3), nn.Dropout2d(), nn.ReLU()), IMAGE),
    Entry("Identity", lambda: mlp(nn.Identity(), nn.ReLU())),
    Entry("Flatten and Unflatten", lambda: mlp(nn.Unflatten(1, (2, 3)), nn.Tanh(), nn.Flatten())),
    Entry(
        "weight_norm", lambda: nn.Sequential(parametrizations.weight_norm(nn.Linear(4, 6)), nn.ReLU(), nn.Linear(6, 3))
    ),
    Entry(
        "spectral_norm",
        lambda: nn.Sequential(parametrizations.spectral_norm(nn.Linear(4, 6)), nn.ReLU(), nn.Linear(6, 3)),
    ),
    Entry(
        "orthogonal", lambda: nn.Sequential(parametrizations.orthogonal(nn.Linear(4, 6)), nn.ReLU(), nn.Linear(6, 3))
    ),
    Entry(
        "orthogonal, Cayley",
        lambda: nn.Sequential(
            nn.Linear(4, 6), parametrizations.orthogonal(nn.Linear(6, 6), orthogonal_map="cayley"), nn.Linear(6, 3)
        ),
    ),
    Entry(
        "orthogonal, Householder",
        lambda: nn.Sequential(
            nn.Linear(4, 6), parametrizations.orthogonal(nn.Linear(6, 6), orthogonal_map="householder"), nn.Linear(6, 3)
        ),
    ),
    Entry("a parametrisation of one's own", Custom),
    Entry(
        "ParameterList",
        lambda: module(
            lambda self, x: torch.tanh(x @ self.weights[0]) @ self.weights[1],
            weights=nn.ParameterList([torch.randn(4, 6), torch.randn(6, 3)]),
        ),
    ),
    Entry(
        "ParameterDict",
        lambda: module(
            lambda self, x: torch.tanh(x @ self.weights["in"]) @ self.weights["out"],
            weights=nn.ParameterDict({"in": torch.randn(4, 6), "out": torch.randn(6, 3)}),
        ),
    ),
    Entry(
        "ModuleList",
        lambda: module(
            lambda self, x: sum(layer(x) for layer in self.heads),
            heads=nn.ModuleList([nn.Linear(4, 3) for _ in range(3)]),
        ),
    ),
    Entry("a plain list of layers", _plain_list, refused="requires grad"),
    Entry("frozen layer", _fixed),
    Entry(
        "tied weights",
        lambda: module(
            lambda self, x: self.head(F.linear(torch.tanh(self.body(x)), self.body.weight.T)),
            body=nn.Linear(4, 6),
            head=nn.Linear(4, 3),
        ),
    ),
    Entry("Bilinear", lambda: module(lambda self, x: self.head(x[:, :2], x[:, 2:]), head=nn.Bilinear(2, 2, 3))),
    Entry(
        "CosineSimilarity",
        lambda: module(
            lambda self, x: 5 * self.near(self.body(x).unsqueeze(1), self.centres),
            body=nn.Linear(4, 6),
            near=nn.CosineSimilarity(-1),
            centres=nn.Parameter(torch.randn(3, 6)),
        ),
    ),
    Entry(
        "PairwiseDistance",
        lambda: module(
            lambda self, x: -self.far(self.body(x).unsqueeze(1), self.centres),
            body=nn.Linear(4, 6),
            far=nn.PairwiseDistance(),
            centres=nn.Parameter(torch.randn(3, 6)),
        ),
    ),
    Entry(
        "cdist",
        lambda: module(
            lambda self, x: -torch.cdist(self.body(x), self.centres),
            body=nn.Linear(4, 6),
            centres=nn.Parameter(torch.randn(3, 6)),
        ),
    ),
    Entry("Linear without bias", lambda: nn.Sequential(nn.Linear(4, 6, bias=False), nn.SiLU(), nn.Linear(6, 3))),
    Entry(
        "Linear on steps",
        lambda: module(
            lambda self, x: self.head(torch.relu(self.body(x)).mean(1)), body=nn.Linear(4, 6), head=nn.Linear(6, 3)
        ),
        SEQUENCE,
    ),
    Entry("logistic regression", lambda: nn.Linear(4, 3)),
]
