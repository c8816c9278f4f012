"""Networks for tables."""

from __future__ import annotations

import torch
import torch.nn.functional as F  # noqa: N812
from tests.zoo.entry import Entry, mlp, module
from torch import Tensor, nn

from tegu.core.data.spec import Spec

REGRESSION = Spec.regression((4,), 2)


class TabNet(nn.Module):
    """Two steps that choose features by a mask and share a gated layer."""

    def __init__(self) -> None:
        super().__init__()
        self.shared, self.masks = nn.Linear(4, 12), nn.ModuleList([nn.Linear(6, 4) for _ in range(2)])
        self.first, self.head = nn.Linear(4, 6), nn.Linear(6, 3)

    def forward(self, x: Tensor) -> Tensor:
        prior, hidden, total = torch.ones_like(x), self.first(x), 0
        for mask in self.masks:
            chosen = torch.softmax(mask(hidden) * prior, -1)
            prior = prior * (1.5 - chosen)
            hidden = F.glu(self.shared(chosen * x), -1)
            total = total + torch.relu(hidden)
        return self.head(total)


class Experts(nn.Module):
    """A mixture of experts with soft gates."""

    def __init__(self) -> None:
        super().__init__()
        self.experts = nn.ModuleList([nn.Sequential(nn.Linear(4, 5), nn.ReLU(), nn.Linear(5, 3)) for _ in range(3)])
        self.gate = nn.Linear(4, 3)

    def forward(self, x: Tensor) -> Tensor:
        outputs = torch.stack([expert(x) for expert in self.experts], 1)
        return (torch.softmax(self.gate(x), -1).unsqueeze(-1) * outputs).sum(1)


class SparseExperts(Experts):
    """The two best of three experts."""

    def forward(self, x: Tensor) -> Tensor:
        outputs = torch.stack([expert(x) for expert in self.experts], 1)
        weights, chosen = self.gate(x).topk(2, -1)
        kept = outputs.gather(1, chosen.unsqueeze(-1).expand(-1, -1, 3))
        return (weights.softmax(-1).unsqueeze(-1) * kept).sum(1)


class Tree(nn.Module):
    """A soft decision tree of depth two."""

    def __init__(self) -> None:
        super().__init__()
        self.splits, self.leaves = nn.Linear(4, 3), nn.Parameter(torch.randn(4, 3))

    def forward(self, x: Tensor) -> Tensor:
        right = torch.sigmoid(self.splits(x))
        root, low, high = right.unbind(1)
        reach = torch.stack([(1 - root) * (1 - low), (1 - root) * low, root * (1 - high), root * high], 1)
        return reach @ self.leaves


class Highway(nn.Module):
    """A gate between a layer and its input."""

    def __init__(self) -> None:
        super().__init__()
        self.body, self.gate, self.head = nn.Linear(4, 4), nn.Linear(4, 4), nn.Linear(4, 3)

    def forward(self, x: Tensor) -> Tensor:
        gate = torch.sigmoid(self.gate(x))
        return self.head(gate * torch.relu(self.body(x)) + (1 - gate) * x)


class ResNet(nn.Module):
    """Residual blocks with LayerNorm."""

    def __init__(self) -> None:
        super().__init__()
        self.enter, self.head = nn.Linear(4, 6), nn.Linear(6, 3)
        self.blocks = nn.ModuleList(
            [nn.Sequential(nn.LayerNorm(6), nn.Linear(6, 8), nn.ReLU(), nn.Linear(8, 6)) for _ in range(2)]
        )

    def forward(self, x: Tensor) -> Tensor:
        x = self.enter(x)
        for block in self.blocks:
            x = x + block(x)
        return self.head(x)


TABULAR = [
    Entry("TabNet", TabNet),
    Entry("ResNet for tables", ResNet),
    Entry("mixture of experts", Experts),
    Entry("sparse mixture of experts", SparseExperts),
    Entry("soft decision tree", Tree),
    Entry("highway network", Highway),
    Entry("self-normalising network", lambda: mlp(nn.SELU(), nn.Linear(6, 6), nn.SELU(), nn.AlphaDropout(0.1))),
    Entry(
        "radial basis functions",
        lambda: module(
            lambda self, x: self.head(torch.exp(-(x.unsqueeze(1) - self.centres).square().sum(-1))),
            centres=nn.Parameter(torch.randn(6, 4)),
            head=nn.Linear(6, 3),
        ),
    ),
    Entry(
        "Fourier features",
        lambda: module(
            lambda self, x: self.head(torch.cat([torch.sin(self.body(x)), torch.cos(self.body(x))], -1)),
            body=nn.Linear(4, 5),
            head=nn.Linear(10, 3),
        ),
    ),
    Entry(
        "SIREN",
        lambda: module(
            lambda self, x: self.head(torch.sin(3 * self.body(torch.sin(3 * self.enter(x))))),
            enter=nn.Linear(4, 6),
            body=nn.Linear(6, 6),
            head=nn.Linear(6, 3),
        ),
    ),
    Entry(
        "maxout",
        lambda: module(
            lambda self, x: self.head(self.body(x).reshape(-1, 3, 4).amax(-1)),
            body=nn.Linear(4, 12),
            head=nn.Linear(3, 3),
        ),
    ),
    Entry("regression of two targets", lambda: nn.Sequential(nn.Linear(4, 6), nn.Tanh(), nn.Linear(6, 2)), REGRESSION),
    Entry(
        "hypernetwork",
        lambda: module(
            lambda self, x: torch.bmm(self.make(x).reshape(-1, 3, 4), x.unsqueeze(-1)).squeeze(-1),
            make=nn.Linear(4, 12),
        ),
    ),
    Entry(
        "LoRA",
        lambda: module(
            lambda self, x: self.head(torch.relu(self.base(x) + x @ self.down @ self.up)),
            base=nn.Linear(4, 6),
            down=nn.Parameter(torch.randn(4, 2)),
            up=nn.Parameter(torch.randn(2, 6)),
            head=nn.Linear(6, 3),
        ),
    ),
]
