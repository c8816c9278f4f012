"""As many steps as there is time for."""

from __future__ import annotations

import time
from collections.abc import Callable

from tegu.core.data.tree import Tree
from tegu.core.errors import DataError

__all__ = ["adapt_within", "check_budget"]


def check_budget(budget_ms: float | None) -> None:
    """Check a time budget.

    Raises:
        DataError: it is negative or not a number.
    """
    if budget_ms is not None and not budget_ms >= 0:
        raise DataError(f"budget_ms is {budget_ms}: expected milliseconds, 0 or more, or None for no limit")


def adapt_within(
    adapt: Callable[[int], Tree], wanted: int, budget_ms: float | None, started: float
) -> tuple[Tree, int]:
    """Adapt by `wanted` steps, or by as many as fit the budget, but by one at least.

    Args:
        adapt: from a number of steps to the state.
        wanted: steps to take if there is time.
        budget_ms: milliseconds since `started`; None for no limit.
        started: of `time.perf_counter`, in seconds.

    Returns:
        The state, and the number of steps it took.
    """
    if budget_ms is None or wanted <= 1:
        return adapt(wanted), wanted
    adapt(0)  # loads the graph, which would else count as part of a step
    before = time.perf_counter()
    first = adapt(1)
    now = time.perf_counter()
    left = budget_ms / 1000 - (now - started)
    steps = int(min(wanted, left / max(now - before, 1e-9)))
    return (adapt(steps), steps) if steps > 1 else (first, 1)
