"""As many steps as the time budget allows.

A graph need not do what it is told: one that ignores the number of steps, or takes longer for the second than for the
first, is stopped.
"""

from __future__ import annotations

import time
from collections.abc import Callable

from tegu.client.runtimes.limits.run_limits import StoppedRun, seconds_for_a_run
from tegu.core.data.tree import Tree
from tegu.core.errors import DataError
from tegu.core.scalars import real_number

__all__ = ["adapt_within", "check_budget"]

_GRACE = 1.0  # s, for loading a graph and for a first step that takes longer than the budget
_OVERDRAFT = 10  # times the budget


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

    Raises:
        RuntimeFailure: the graph does not run, or one run took more than ten budgets and a second.
    """
    if budget_ms is None:
        return adapt(scheduled), scheduled
    with seconds_for_a_run(_GRACE + _OVERDRAFT * budget_ms / 1000):
        return _adapt_within(adapt, scheduled, budget_ms / 1000, started)


def _adapt_within(adapt: Callable[[int], Tree], scheduled: int, budget: float, started: float) -> tuple[Tree, int]:
    if scheduled <= 1:
        return adapt(scheduled), scheduled
    adapt(0)  # loads the graph, so that loading is not timed as part of a step
    before = time.perf_counter()
    first = adapt(1)
    now = time.perf_counter()
    left = budget - (now - started)
    steps = int(min(scheduled, left / max(now - before, 1e-9)))
    if steps <= 1:
        return first, 1
    try:
        return adapt(steps), steps
    except StoppedRun:
        return first, 1
