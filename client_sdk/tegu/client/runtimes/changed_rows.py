"""The rows of a table that adapting changed: input of a graph where another runtime stored the whole table."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from tegu.core.data.batch import Array
from tegu.core.data.tree import Tree

__all__ = ["find_changed_rows"]


def find_changed_rows(key: str, sources: Mapping[str, Tree]) -> Array | None:
    """The state's entry `<table>/ids` or `<table>/rows`, computed from the whole tables in the state and in meta.

    Args:
        key: name of the entry.
        sources: `meta` and `state`.

    Returns:
        int64 `[changed]` or float32 `[changed, ...]`, at least one row; None where there are no such tables.
    """
    name, _, entry = key.rpartition("/")
    tables = [sources.get(source, {}).get(name) for source in ("meta", "state")]
    if entry not in ("ids", "rows") or tables[0] is None or tables[1] is None:
        return None
    before, after = (table.reshape(len(table), -1) for table in tables if table is not None)
    ids = np.flatnonzero((before != after).any(1))
    ids = ids if len(ids) else np.zeros(1, np.int64)  # graphs need at least one row
    return ids if entry == "ids" else tables[1][ids]
