"""Embedding tables of which only the rows looked up become personal.

In a tree of parameters these entries stand beside a table `name`, or in its place where it is a state or an update:

    name/ids      int64 [touched]         which rows; an id may come several times, and then its first place counts
    name/rows     float32 [touched, ...]  what these rows are (in an update: what to subtract from them; repeats add up)
    name/slots/k  int64                   while adapting: for the ids of the k-th look-up, their places in name/ids
"""

from __future__ import annotations

import functools
from collections.abc import Iterable, Mapping, Sequence
from itertools import count
from typing import TypeVar

import torch
from torch import Tensor

from tegu.learners.learner import TorchTree
from tegu.learners.operators.exportable import Lookup, from_table, joined

__all__ = [
    "begin_rows",
    "fixed_entries",
    "look_up",
    "parameter_changes",
    "row_entries",
    "rows_key",
    "whole_parameters",
    "whole_update",
]

T = TypeVar("T")
_ROWS = "/rows"


def rows_key(name: str) -> str:
    """The entry with the rows of the table `name`."""
    return f"{name}{_ROWS}"


def row_entries(name: str) -> tuple[str, str]:
    """The entries that a state has of the table `name`."""
    return f"{name}/ids", rows_key(name)


def fixed_entries(tree: Mapping[str, T]) -> dict[str, T]:
    """The entries that no step moves: ids and slots."""
    return {key: value for key, value in tree.items() if key.endswith("/ids") or "/slots/" in key}


def whole_parameters(tree: Mapping[str, T]) -> dict[str, T]:
    """The parameters alone, without what stands beside tables."""
    beside = {*fixed_entries(tree), *(rows_key(name) for name in _tables(tree))}
    return {name: value for name, value in tree.items() if name not in beside}


def begin_rows(name: str, table: Tensor, lookups: Sequence[Tensor]) -> TorchTree:
    """All three entries, the rows being the table's own.

    Args:
        name: of the table.
        table: `[entries, ...]`.
        lookups: the ids of each look-up, of any shape.
    """
    ids = functools.reduce(joined, (each.flatten() for each in lookups))
    slots = {f"{name}/slots/{k}": _places(each, ids) for k, each in enumerate(lookups)}
    return {f"{name}/ids": ids, rows_key(name): table[ids], **slots}


def look_up(tree: TorchTree) -> Lookup:
    """How embeddings find their rows with these parameters; with slots, look-ups come in the order of `begin_rows`."""
    tables = {id(tree[name]): (name, count()) for name in _tables(tree)}

    def rows(ids: Tensor, table: Tensor) -> Tensor:
        if id(table) not in tables:
            return from_table(ids, table)
        name, turns = tables[id(table)]
        moved, slots = tree[rows_key(name)], tree.get(f"{name}/slots/{next(turns)}")
        return _overridden(ids, table, tree[f"{name}/ids"], moved) if slots is None else moved[slots]

    return rows


def _overridden(ids: Tensor, table: Tensor, touched: Tensor, rows: Tensor) -> Tensor:
    places = _places(ids, touched)
    found = (touched[places] == ids).reshape(*ids.shape, *[1] * (table.dim() - 1))
    return torch.where(found, rows[places], table[ids])


def _places(ids: Tensor, touched: Tensor) -> Tensor:
    """For each id its first place in `touched`, and any place where it has none."""
    return (ids.unsqueeze(-1) == touched).to(torch.uint8).argmax(-1)


def _tables(tree: Iterable[str]) -> list[str]:
    return [key.removesuffix(_ROWS) for key in tree if key.endswith(_ROWS)]


def parameter_changes(meta: TorchTree, state: TorchTree) -> TorchTree:
    """`meta - state` of all that is in `state`, tables by rows where they are so in it."""
    result = {name: meta[name] - value for name, value in whole_parameters(state).items()}
    for name in _tables(state):
        ids, rows = (state[key] for key in row_entries(name))
        # Later places of an id have not moved, so repeats add up to the change of its first place.
        result |= zip(row_entries(name), (ids, meta[name][ids] - rows), strict=True)
    return result


def whole_update(meta: TorchTree, update: TorchTree) -> TorchTree:
    """`update` as a tree of the layout of `meta`: rows that were not touched are zero."""
    tables = {}
    for name in _tables(update):
        ids, rows = (update[key] for key in row_entries(name))
        tables[name] = torch.zeros_like(meta[name]).index_put((ids,), rows, accumulate=True)
    return whole_parameters(update) | tables
