"""Which tables adapt by rows: large ones that are used by look-up only."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor, nn

from tegu.core.data.batch import Batch
from tegu.core.data.scaling import Scaling
from tegu.core.data.spec import Spec
from tegu.learners.modules.losses import find_loss
from tegu.learners.modules.standardised import Standardised
from tegu.learners.modules.table_lookups import find_lookups, find_row_tables

ITEMS = 100
RATINGS = Spec.regression((), items=ITEMS)
NAMES = ("table.weight", "user")


class Lookups(nn.Module):
    """A table that is looked up, and used in a second, given way."""

    def __init__(self, second_use=lambda table, ids: 0.0, items: int = ITEMS) -> None:
        super().__init__()
        self.table = nn.Embedding(items, 4)
        self.user = nn.Parameter(torch.randn(4))
        self.second_use = second_use

    def forward(self, ids: Tensor) -> Tensor:
        return (self.table(ids) @ self.user + self.second_use(self.table, ids)).unsqueeze(-1)


def found(model: nn.Module, spec: Spec = RATINGS, loss=None, names=NAMES) -> tuple[str, ...]:
    return find_row_tables(model, find_loss(loss, spec), spec, names)


BY_ROWS = {
    "once": lambda table, ids: 0.0,
    "twice": lambda table, ids: table(ids + 1 - 1).sum(-1),
    "by its functional form": lambda table, ids: F.embedding(ids, table.weight).sum(-1),
    "reading its size": lambda table, ids: table.weight.shape[0] + table.weight.size(1) + table.weight.dim(),
    "reading its device": lambda table, ids: torch.zeros(1, device=table.weight.device, dtype=table.weight.dtype),
}
WHOLE = {
    "norm": lambda table, ids: table.weight.norm(),
    "product": lambda table, ids: (torch.ones(1, 4) @ table.weight.T).mean(),
    "in a list": lambda table, ids: torch.cat([table.weight, table.weight]).mean(),
    "by name": lambda table, ids: torch.sum(input=table.weight),
    "indexed": lambda table, ids: table.weight[ids].sum(-1),
    "transposed": lambda table, ids: table.weight.T.mean(),
    "ids of parameters": lambda table, ids: table((table(ids)[:, 0] > 0).long()).sum(-1),
    "ids of no row": lambda table, ids: table(torch.arange(2)).sum(),
    "more ids than it is worth": lambda table, ids: table(ids.unsqueeze(-1).expand(-1, 4)).sum((-1, -2)),
}


@pytest.mark.parametrize("use", BY_ROWS)
def test_a_table_used_by_look_up_only_adapts_by_rows(use):
    assert found(Lookups(BY_ROWS[use], items=128)) == ("table.weight",)


@pytest.mark.parametrize("use", WHOLE)
def test_a_table_with_another_use_adapts_as_a_whole(use):
    assert found(Lookups(WHOLE[use], items=128)) == ()


def test_a_small_table_adapts_as_a_whole():
    assert found(Lookups(items=31), Spec.regression((), items=31)) == ()
    assert found(Lookups(items=32), Spec.regression((), items=32)) == ("table.weight",)


def test_only_parameters_that_adapt_count():
    assert found(Lookups(), names=("user",)) == ()


class Scores(Lookups):
    def forward(self, ids: Tensor) -> Tensor:
        return super().forward(ids).squeeze(-1)


def test_a_loss_over_the_catalogue_reads_the_whole_table():
    assert found(Scores(), Spec.ranking(ITEMS)) == ()
    assert found(Scores(), Spec.ranking(ITEMS), loss=lambda score, y: (score - y).square()) == ("table.weight",)


def test_a_table_with_two_names_counts_once():
    class Tied(Lookups):
        def __init__(self) -> None:
            super().__init__()
            self.again = nn.Embedding(ITEMS, 4)
            self.again.weight = self.table.weight

        def forward(self, ids: Tensor) -> Tensor:
            return super().forward(ids) * self.again(ids).mean(-1, keepdim=True)

    assert found(Tied()) == ("table.weight",)


def test_a_table_tied_to_a_layer_adapts_as_a_whole():
    class Tied(Lookups):
        def __init__(self) -> None:
            super().__init__()
            self.head = nn.Linear(4, ITEMS)
            self.head.weight = self.table.weight

        def forward(self, ids: Tensor) -> Tensor:
            return super().forward(ids) + self.head(self.table(ids)).mean(-1, keepdim=True)

    assert found(Tied()) == ()


def test_ids_are_returned_per_look_up_in_order():
    model = Lookups(BY_ROWS["twice"])
    parameters = dict(model.named_parameters())
    batch = Batch(torch.tensor([7, 3, 7]), torch.zeros(3, 1), torch.ones(3))
    lookups = find_lookups(model, find_loss(None, RATINGS), parameters, batch)
    assert [ids.tolist() for ids in lookups["table.weight"]] == [[7, 3, 7], [7, 3, 7]]


def test_finding_tables_does_not_change_the_model():
    model = Lookups()
    before = {name: value.clone() for name, value in model.named_parameters()}
    found(model)
    assert all(torch.equal(value, before[name]) for name, value in model.named_parameters())


class Mixed(nn.Module):
    """Numbers beside ids that a large and a small table are read at."""

    def __init__(self) -> None:
        super().__init__()
        self.shops, self.days, self.head = nn.Embedding(300, 4), nn.Embedding(7, 2), nn.Linear(7, 1)

    def forward(self, x: Tensor) -> Tensor:
        shop, day = self.shops(x[:, 1].long()), self.days(x[:, 2].long())
        return self.head(torch.cat([x[:, :1], shop, day], -1))


def test_a_table_read_at_an_id_column_adapts_by_rows() -> None:
    spec, names = Spec.regression((3,), ids={1: 300, 2: 7}), [name for name, _ in Mixed().named_parameters()]
    assert found(Mixed(), spec, names=names) == ("shops.weight",)
    scaling = Scaling(np.array([5, 0, 0], np.float32), np.array([2, 1, 1], np.float32))
    scaled, names = Standardised(Mixed(), scaling, None), [f"model.{name}" for name in names]
    assert found(scaled, spec, names=names) == ("model.shops.weight",)
