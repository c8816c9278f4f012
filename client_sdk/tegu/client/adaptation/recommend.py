"""The best items of a catalogue."""

from __future__ import annotations

import numpy as np

from tegu.core.data.batch import Array
from tegu.core.data.spec import Spec
from tegu.core.errors import DataError
from tegu.core.scalars import whole_number

__all__ = ["best_items", "check_can_recommend"]


def check_can_recommend(spec: Spec, n: int) -> None:
    """Check that a model of this spec can recommend `n` items.

    Raises:
        DataError: its inputs are not item ids, its output is not one score per item, or `n` is not a whole number from
            1 on.
    """
    if not spec.items or spec.outputs != 1 or spec.kind in ("classification", "multilabel"):
        raise DataError(
            f"a {spec.kind} of inputs {spec.x} with {spec.outputs} outputs has no items to recommend: "
            "use Spec.ranking(items), or Spec.regression((), items=items) for ratings"
        )
    whole_number("n", n, 1)


def best_items(scores: Array, seen: Array, n: int) -> tuple[Array, Array]:
    """The `n` items with the highest scores, best first; of equal scores, the lower id first.

    Args:
        scores: `[items]`.
        seen: int64 ids to leave out, in any order, possibly repeated.
        n: number of items.

    Returns:
        int64 ids and their scores, `[n]` each; fewer where fewer items are left.
    """
    eligible = np.ones(len(scores), bool)
    eligible[seen] = False
    ids = np.flatnonzero(eligible)
    best = ids[np.argsort(-scores[ids], kind="stable")[:n]]
    return best, scores[best]
