"""Stores to test with."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import numpy as np

from tegu.client import Store
from tegu.client.store.store import PersonalState
from tegu.core.data.spec import Spec

SPEC = Spec.regression((3,))
X = np.arange(12, dtype=np.float32).reshape(4, 3)
Y = np.arange(4, dtype=np.float32)[:, None]
STATE = {"weight": np.array([[1.5, -2.0]], np.float32), "bias": np.array(3.0, np.float32)}


def open_store(path: Path | None, identity: str = "a", spec: Spec = SPEC) -> Store:
    return Store(path, identity, spec)


def make_store(path: Path) -> None:
    """A file with four interactions and a state."""
    with closing(open_store(path)) as store:
        store.append(X, Y)
        store.save_personal(PersonalState(STATE, 4), 0)


@contextmanager
def sql(path: Path) -> Iterator[sqlite3.Connection]:
    """The file without Tegu."""
    with closing(sqlite3.connect(path)) as connection, connection:
        yield connection
