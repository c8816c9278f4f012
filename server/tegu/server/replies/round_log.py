"""Who took part in each round, and what was refused: for `rounds.json`, the log and metrics."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from tegu.server.replies.refusal import Refusal

__all__ = ["RoundEntry", "RoundLog"]


@dataclass(frozen=True)
class RoundEntry:
    """One round.

    Attributes:
        round: from 1.
        users: number of users whose updates counted; 0 if the round was dropped.
        nodes: ids of the nodes whose replies counted.
        refused: replies that were left out, and failures that nodes have reported.
        scaled: ids of the nodes whose updates were scaled down to the clip.
        clip: largest norm of one user's update; infinite for no clipping.
        dropped: why the round changed nothing; empty if it counted.
        late: ids of the nodes that had not answered when the round closed.
        came_late: number of answers to earlier rounds that came in this one and were dropped.
        stale: of an asynchronous run, how many steps old each node's parameters were.
        in_flight: of an asynchronous run, number of nodes that were at work when the step was taken.
        epsilon: what the rounds so far have spent; None without noise on the mean.
    """

    round: int
    users: int = 0
    nodes: tuple[int, ...] = ()
    refused: tuple[Refusal, ...] = ()
    scaled: tuple[int, ...] = ()
    clip: float = float("inf")
    dropped: str = ""
    late: tuple[int, ...] = ()
    came_late: int = 0
    stale: Mapping[int, int] = field(default_factory=dict)
    in_flight: int = 0
    epsilon: float | None = None

    def as_json(self) -> dict[str, Any]:
        """The entry for `rounds.json`: what nodes have reported stands apart from what the server has refused.

        An infinite clip is None, since JSON has no infinity.
        """
        return {
            "round": self.round,
            "users": self.users,
            "nodes": [str(node) for node in self.nodes],
            "failed": [each.as_json() for each in self.refused if each.code == "failed"],
            "refused": [each.as_json() for each in self.refused if each.code != "failed"],
            "late": [str(node) for node in self.late],
            "came_late": self.came_late,
            "scaled": [str(node) for node in self.scaled],
            "clip": None if self.clip == float("inf") else self.clip,
            "dropped": self.dropped,
            "stale": {str(node): steps for node, steps in self.stale.items() if steps},
            "in_flight": self.in_flight,
            **({} if self.epsilon is None else {"epsilon": self.epsilon}),
        }


@dataclass
class RoundLog:
    """The rounds of a training, in order, and the replies that evaluation rounds refused.

    Attributes:
        rounds: the training rounds.
        evaluation: replies to evaluation rounds that were left out.
    """

    rounds: list[RoundEntry] = field(default_factory=list)
    evaluation: list[Refusal] = field(default_factory=list)

    def by_code(self) -> dict[str, int]:
        """Number of refused replies by code."""
        every: Iterable[Refusal] = [*(each for entry in self.rounds for each in entry.refused), *self.evaluation]
        return dict(Counter(each.code for each in every))
