"""The interactions that a model adapts on, read from the store: no more of them than it uses."""

from __future__ import annotations

from typing import NamedTuple

from tegu.client.adaptation.model import Model
from tegu.client.store.store import Store
from tegu.core.data.batch import NumpyBatch
from tegu.core.data.recency import recency_weights

__all__ = ["Support", "read_support"]

_MORE = 4  # times as many are read where too few of them are usable


class Support(NamedTuple):
    """Interactions to adapt on.

    Attributes:
        batch: those that the model can use, the oldest first, with their weights; may be empty.
        unused: number of others among those that were read.
        erasures: `StoredRows.erasures`.
    """

    batch: NumpyBatch
    unused: int
    erasures: int


def read_support(store: Store, model: Model, half_life: float | None) -> Support:
    """The newest interactions of the store, as many as the model's window takes; all for a model without a window.

    Args:
        store: of the user.
        model: that adapts.
        half_life: of an interaction's weight, in interactions; None for equal weights.

    Raises:
        StoreError: the store cannot be read, or what was read is damaged.
    """
    window = model.manifest.window
    most = window or None
    while True:
        rows = store.load(most)
        usable = model.catalogue.usable(rows)
        if most is None or len(rows.x) < most or len(usable.x) >= window:
            break
        most *= _MORE
    batch = usable._replace(mask=recency_weights(len(usable.x), half_life))
    return Support(batch, len(rows.x) - len(usable.x), rows.erasures)
