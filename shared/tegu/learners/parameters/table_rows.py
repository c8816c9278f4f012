"""Embedding tables stored by rows: only the rows that were looked up become personal.

In a tree of parameters, these entries accompany a table `name`; in a state or an update they replace it:

    name/ids      int64 [touched]         the rows' ids. If an id is repeated, its first position counts.
    name/rows     float32 [touched, ...]  the rows' values. In an update: what to subtract; repeated ids add up.
    name/slots/k  int64                   during adaptation: for each id of the k-th look-up, its position in name/ids
"""

from __future__ import annotations

import functools
from collections.abc import Iterable, Mapping, Sequence
from itertools import count
from typing import TypeVar

import torch
from torch import Tensor

from tegu.learners.learner import TorchTree
from tegu.learners.operators.exportable import Lookup, concatenate_rows, from_table

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
    """The name of the entry that holds the rows of the table `name`."""
    return f"{name}{_ROWS}"


def row_entries(name: str) -> tuple[str, str]:
    """The names of the entries for the table `name` in a state."""
    return f"{name}/ids", rows_key(name)


def fixed_entries(tree: Mapping[str, T]) -> dict[str, T]:
    """The entries that no step changes: ids and slots."""
    return {key: value for key, value in tree.items() if key.endswith("/ids") or "/slots/" in key}


def whole_parameters(tree: Mapping[str, T]) -> dict[str, T]:
    """The parameters without the entries of this module."""
    row_data = {*fixed_entries(tree), *(rows_key(name) for name in _tables(tree))}
    return {name: value for name, value in tree.items() if name not in row_data}


def begin_rows(name: str, table: Tensor, lookups: Sequence[Tensor]) -> TorchTree:
    """All three entries, with rows copied from the table.

    Args:
        name: name of the table.
        table: `[entries, ...]`.
        lookups: for each look-up its ids, int64 of any shape.
    """
    ids = functools.reduce(concatenate_rows, (each.flatten() for each in lookups))
    slots = {f"{name}/slots/{k}": _positions(each, ids) for k, each in enumerate(lookups)}
    return {f"{name}/ids": ids, rows_key(name): table[ids], **slots}


def look_up(tree: TorchTree) -> Lookup:
    """The function that returns rows for embeddings; with slots, look-ups must come in the order of `begin_rows`."""
    tables = {id(tree[name]): (name, count()) for name in _tables(tree)}

    def rows(ids: Tensor, table: Tensor) -> Tensor:
        if id(table) not in tables:
            return from_table(ids, table)
        name, calls = tables[id(table)]
        changed, slots = tree[rows_key(name)], tree.get(f"{name}/slots/{next(calls)}")
        return _overridden(ids, table, tree[f"{name}/ids"], changed) if slots is None else changed[slots]

    return rows


def _overridden(ids: Tensor, table: Tensor, touched: Tensor, rows: Tensor) -> Tensor:
    positions = _positions(ids, touched)
    found = (touched[positions] == ids).reshape(*ids.shape, *[1] * (table.dim() - 1))
    return torch.where(found, rows[positions], table[ids])


def _positions(ids: Tensor, touched: Tensor) -> Tensor:
    """The first position of each id in `touched`; an arbitrary position if it is absent."""
    return (ids.unsqueeze(-1) == touched).to(torch.uint8).argmax(-1)


def _tables(tree: Iterable[str]) -> list[str]:
    return [key.removesuffix(_ROWS) for key in tree if key.endswith(_ROWS)]


def parameter_changes(meta: TorchTree, state: TorchTree) -> TorchTree:
    """`meta - state` for the entries of `state`; tables are stored by rows if they are in `state`."""
    result = {name: meta[name] - value for name, value in whole_parameters(state).items()}
    for name in _tables(state):
        ids, rows = (state[key] for key in row_entries(name))
        # Later positions of an id have not changed, so repeats add up to the change of its first position.
        result |= zip(row_entries(name), (ids, meta[name][ids] - rows), strict=True)
    return result


def whole_update(meta: TorchTree, update: TorchTree) -> TorchTree:
    """`update` with whole tables, as in `meta`; rows that were not touched are zero."""
    tables = {}
    for name in _tables(update):
        ids, rows = (update[key] for key in row_entries(name))
        tables[name] = torch.zeros_like(meta[name]).index_put((ids,), rows, accumulate=True)
    return whole_parameters(update) | tables
