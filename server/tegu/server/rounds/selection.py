"""Whom a round asks: a seeded draw among the connected nodes that are free and do not sit out."""

from __future__ import annotations

import math
from collections.abc import Collection, Sequence

from tegu.core.sampling.episode import draw_users
from tegu.core.sampling.keyed_random import keyed_rng
from tegu.server.rounds.reliability import Reliability, sits_out

__all__ = ["candidates", "draw_nodes", "how_many"]


def how_many(wanted: int, oversampling: float) -> int:
    """The number of nodes to ask, so that as many as are wanted answer: 1.3 times 10 is 13, and not 14."""
    return math.ceil(wanted * oversampling - 1e-9)


def candidates(
    connected: Collection[int], reliability: Reliability, number: int, least: int, busy: Collection[int] = ()
) -> list[int]:
    """The nodes that may be asked, in ascending order.

    Nodes that sit out, and nodes that have not yet answered an earlier round, are among them only where the others are
    fewer than `least`: as many as are missing, those that have failed least first.

    Args:
        connected: ids of the connected nodes.
        reliability: failures before the round.
        number: of the round.
        least: how many are needed.
        busy: nodes that have not answered an earlier round.
    """
    spared = [node for node in connected if node in busy or sits_out(reliability, node, number)]
    found = [node for node in connected if node not in set(spared)]
    spared.sort(key=lambda node: (reliability[node].times if node in reliability else 0, node))
    return sorted(found + spared[: max(0, least - len(found))])


def draw_nodes(nodes: Sequence[int], size: int, seed: int, number: int, attempt: int = 1) -> list[int]:
    """So many of the nodes, or all of them, in ascending order. Seed, round and attempt determine the draw.

    Args:
        nodes: ids in ascending order.
        size: how many; at least 0.
        seed: of the run.
        number: of the round.
        attempt: from 1.
    """
    if not size:
        return []
    if attempt == 1:
        return [nodes[place] for place in draw_users(len(nodes), size, seed, number)]
    order = keyed_rng(seed, "attempt", number, attempt).permutation(len(nodes))
    return sorted(nodes[place] for place in order[:size])
