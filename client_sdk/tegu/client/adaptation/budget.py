"""As many steps as the time budget allows."""

from __future__ import annotations

import time
from collections.abc import Callable

from tegu.core.data.tree import Tree
from tegu.core.errors import DataError
from tegu.core.scalars import real_number

__all__ = ["adapt_within", "check_budget"]


def check_budget(budget_ms: float | None) -> None:
    """Check a time budget.

    Raises:
        DataError: it is negative or not a number.
    """
    if budget_ms is not None and not real_number("budget_ms", budget_ms) >= 0:
        raise DataError(f"budget_ms is {budget_ms!r}: expected milliseconds, 0 or more, or None for no limit")


def adapt_within(
    adapt: Callable[[int], Tree], scheduled: int, budget_ms: float | None, started: float
) -> tuple[Tree, int]:
    """Take `scheduled` steps, or as many as fit the budget, but at least one.

    Args:
        adapt: computes the state after a number of steps.
        scheduled: steps to take if time allows.
        budget_ms: milliseconds since `started`; None for no limit.
        started: reading of `time.perf_counter`, in seconds.

    Returns:
        The state, and the number of steps it took.
    """
    if budget_ms is None or scheduled <= 1:
        return adapt(scheduled), scheduled
    adapt(0)  # loads the graph, so that loading is not timed as part of a step
    before = time.perf_counter()
    first = adapt(1)
    now = time.perf_counter()
    left = budget_ms / 1000 - (now - started)
    steps = int(min(scheduled, left / max(now - before, 1e-9)))
    return (adapt(steps), steps) if steps > 1 else (first, 1)
