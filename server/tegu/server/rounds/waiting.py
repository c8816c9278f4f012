"""Waiting until enough nodes are connected.

A round waits for all nodes that it wants as long as a killed node takes to come back, and then goes on with its quorum.
Nodes that have failed the last time that they were asked are not waited for. The quorum itself is waited for longer.
"""

from __future__ import annotations

from collections.abc import Callable, Collection

from flwr.serverapp import Grid

from tegu.core.errors import FederationError
from tegu.server.rounds.clock import Clock

__all__ = ["GRACE_SECONDS", "wait_for_nodes", "waiting_text"]

GRACE_SECONDS = 90.0  # Flower lets a killed node in again after 45 to 60
_POLL_SECONDS = 0.5


def waiting_text(connected: int, wanted: int) -> str:
    """The line that says how many nodes are connected."""
    return f"waiting: {connected} of {wanted} connected"


def wait_for_nodes(
    grid: Grid,
    wanted: int,
    quorum: int,
    seconds: float,
    clock: Clock,
    tell: Callable[[str], None],
    missed: Collection[int] = (),
) -> list[int]:
    """The ids of the connected nodes in ascending order, once they are enough.

    Args:
        grid: the nodes.
        wanted: how many the round wants.
        quorum: how many it needs.
        seconds: how long to wait for the quorum.
        clock: the time.
        tell: told how many are connected, whenever that changes while they are too few.
        missed: nodes that are not waited for.

    Raises:
        FederationError: the quorum is not connected in time.
    """
    began, shown = clock.now(), -1
    while True:
        connected = sorted(grid.get_node_ids())
        waited = clock.now() - began
        hoped_for = max(quorum, wanted - len(set(missed) - set(connected)))
        if len(connected) >= (hoped_for if waited < min(GRACE_SECONDS, seconds) else quorum):
            return connected
        if waited >= seconds:
            raise FederationError(
                f"{len(connected)} nodes are connected and a round needs {quorum} of {wanted}: connect more nodes, or "
                "choose a smaller cohort or quorum"
            )
        if len(connected) != shown:
            shown = len(connected)
            tell(waiting_text(shown, wanted))
        clock.sleep(_POLL_SECONDS)
