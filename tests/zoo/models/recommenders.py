"""Recommenders: rankings, ratings and clicks."""

from __future__ import annotations

import torch
from tests.zoo.entry import TOKENS, Entry, mlp, module
from torch import Tensor, nn

from tegu.core.data.spec import Spec

RANKING, RATINGS = Spec.ranking(12), Spec.regression((), items=12)
CLICKS = Spec.classification((6,), 2, tokens=11)


class Factors(nn.Module):
    """Scores of items for one user, from factors and a bias."""

    def __init__(self, *, ratings: bool) -> None:
        super().__init__()
        self.items, self.bias = nn.Embedding(12, 4), nn.Embedding(12, 1)
        self.user, self.ratings = nn.Parameter(torch.randn(4)), ratings

    def forward(self, ids: Tensor) -> Tensor:
        scores = self.items(ids) @ self.user + self.bias(ids).squeeze(-1)
        return scores.unsqueeze(-1) if self.ratings else scores


class Towers(nn.Module):
    """A tower for items, and one for the user."""

    def __init__(self) -> None:
        super().__init__()
        self.items, self.tower = nn.Embedding(12, 4), nn.Sequential(nn.Linear(4, 6), nn.ReLU(), nn.Linear(6, 4))
        self.user = nn.Parameter(torch.randn(4))

    def forward(self, ids: Tensor) -> Tensor:
        towards = nn.functional.normalize(self.tower(self.items(ids)), dim=-1)
        return 5 * (towards * nn.functional.normalize(self.user, dim=0)).sum(-1)


class Neural(nn.Module):
    """Neural collaborative filtering for ratings."""

    def __init__(self) -> None:
        super().__init__()
        self.items, self.user = nn.Embedding(12, 4), nn.Parameter(torch.randn(4))
        self.deep = nn.Sequential(nn.Linear(8, 6), nn.ReLU(), nn.Linear(6, 4))
        self.head = nn.Linear(8, 1)

    def forward(self, ids: Tensor) -> Tensor:
        items = self.items(ids)
        both = torch.cat([items, self.user.expand_as(items)], -1)
        return self.head(torch.cat([items * self.user, self.deep(both)], -1))


class DeepFM(nn.Module):
    """First order, pairs and a network over the embeddings of fields."""

    def __init__(self) -> None:
        super().__init__()
        self.factors, self.linear = nn.Embedding(11, 4), nn.Embedding(11, 1)
        self.deep = nn.Sequential(nn.Linear(24, 6), nn.ReLU(), nn.Linear(6, 1))
        self.head = nn.Linear(3, 2)

    def forward(self, x: Tensor) -> Tensor:
        fields = self.factors(x)
        pairs = 0.5 * (fields.sum(1).square() - fields.square().sum(1)).sum(-1, keepdim=True)
        return self.head(torch.cat([self.linear(x).sum(1), pairs, self.deep(fields.flatten(1))], 1))


class WideAndDeep(nn.Module):
    """A linear part and a network, added."""

    def __init__(self) -> None:
        super().__init__()
        self.wide, self.table = nn.Embedding(11, 2), nn.Embedding(11, 4)
        self.deep = nn.Sequential(nn.Linear(24, 6), nn.ReLU(), nn.Linear(6, 2))

    def forward(self, x: Tensor) -> Tensor:
        return self.wide(x).sum(1) + self.deep(self.table(x).flatten(1))


class Cross(nn.Module):
    """DCN: features times a linear function of themselves."""

    def __init__(self) -> None:
        super().__init__()
        self.table, self.first, self.second = nn.Embedding(11, 2), nn.Linear(12, 12), nn.Linear(12, 12)
        self.head = nn.Linear(12, 2)

    def forward(self, x: Tensor) -> Tensor:
        start = self.table(x).flatten(1)
        crossed = start * self.first(start) + start
        return self.head(start * self.second(crossed) + crossed)


def _columns(self: nn.Module, x: Tensor) -> Tensor:
    tables = [table(x[:, column]) for column, table in enumerate(self.tables)]
    return self.head(torch.relu(self.body(torch.cat(tables, -1))))


def _bag(mode: str) -> Entry:
    return Entry(
        f"EmbeddingBag, {mode}",
        lambda: nn.Sequential(nn.EmbeddingBag(11, 6, mode=mode), nn.ReLU(), nn.Linear(6, 3)),
        TOKENS,
    )


RECOMMENDERS = [
    Entry("matrix factorisation, ranking", lambda: Factors(ratings=False), RANKING),
    Entry("matrix factorisation, ratings", lambda: Factors(ratings=True), RATINGS),
    Entry("two towers", Towers, RANKING),
    Entry("neural collaborative filtering", Neural, RATINGS),
    Entry("DeepFM", DeepFM, CLICKS),
    Entry("Wide & Deep", WideAndDeep, CLICKS),
    Entry("DCN", Cross, CLICKS),
    Entry(
        "an embedding for each column",
        lambda: module(
            _columns,
            tables=nn.ModuleList([nn.Embedding(11, 2) for _ in range(6)]),
            body=nn.Linear(12, 6),
            head=nn.Linear(6, 3),
        ),
        TOKENS,
    ),
    _bag("mean"),
    _bag("sum"),
    _bag("max"),
    Entry(
        "Embedding with padding",
        lambda: nn.Sequential(nn.Embedding(11, 4, padding_idx=0), nn.Flatten(), nn.Linear(24, 3)),
        TOKENS,
    ),
    Entry(
        "Embedding with max_norm",
        lambda: nn.Sequential(nn.Embedding(11, 4, max_norm=1.0), nn.Flatten(), nn.Linear(24, 3)),
        TOKENS,
        refused="max_norm",
    ),
    Entry(
        "Embedding with frozen weights",
        lambda: nn.Sequential(nn.Embedding.from_pretrained(torch.randn(11, 4)), nn.Flatten(), nn.Linear(24, 3)),
        TOKENS,
    ),
    Entry("autoencoder with a head", lambda: mlp(nn.ReLU(), nn.Linear(6, 2), nn.ReLU(), nn.Linear(2, 6), nn.ReLU())),
]
