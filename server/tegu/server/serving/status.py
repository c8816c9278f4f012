"""`tegu status`: what a run does now, by its journal and, where the server answers, by its nodes."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

from tegu.core.errors import FederationError
from tegu.server.serving.control import connect
from tegu.server.serving.follow import summary_of
from tegu.server.serving.security import own_address
from tegu.server.serving.settings import Federation
from tegu.server.training.checkpoint import newest_round
from tegu.server.training.journal import read_events

__all__ = ["status_lines", "status_of"]


def status_of(federation: Federation, *, insecure: bool = False) -> dict[str, Any]:
    """What a run does now, as JSON.

    Args:
        federation: the file.
        insecure: the server runs without TLS.

    Raises:
        FederationError: a setting is missing.
    """
    checkpoints = federation.folder("run", "out") / "checkpoints"
    summary = summary_of(read_events(checkpoints)[0])
    return {**summary, "checkpoint": _checkpoint(checkpoints), "nodes": _nodes(federation, insecure)}


def status_lines(status: dict[str, Any]) -> list[str]:
    """The status in words."""
    rounds = f" of {status['rounds']}" if status["rounds"] else ""
    nodes, checkpoint = status["nodes"], status["checkpoint"]
    connected = "the server has ended" if status["state"] == "finished" else "the server does not answer"
    if nodes is not None:
        connected = f"{nodes['online']} connected of {nodes['registered']} registered"
    counts = ", ".join(f"{status[kind]} {kind}" for kind in ("failed", "refused", "late"))
    spent = [] if status.get("epsilon") is None else [f"epsilon     {status['epsilon']:.3g} for training"]
    return [
        f"state       {status['state']}{' since ' + status['since'] if status['since'] else ''}",
        f"round       {status['round']}{rounds}",
        f"nodes       {connected}",
        f"replies     {counts}",
        f"checkpoint  {checkpoint or 'none'}",
        *spent,
    ]


def _checkpoint(folder: Path) -> str | None:
    newest = newest_round(folder)
    return None if newest is None else f"round {newest}"


def _nodes(federation: Federation, insecure: bool) -> dict[str, int] | None:
    ca = None if insecure else federation.file("tls", "ca")
    try:
        with connect(str(own_address(federation)), ca) as control:
            counted = Counter(node.status for node in control.nodes())
    except FederationError:
        return None
    return {"online": counted["online"], "registered": counted.total()}
