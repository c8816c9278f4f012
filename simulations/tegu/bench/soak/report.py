"""What came of a soak: faults, rounds, interactions, replies, and memory by quarter."""

from __future__ import annotations

import statistics
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from tegu.bench.soak.replies import Account

__all__ = ["Memory", "Soaked", "growth", "quarters"]

_FLAT = 0.05


class Memory(NamedTuple):
    """Resident memory at one moment, in bytes; 0 where a process did not run, or had just been started.

    Attributes:
        seconds: since the start.
        participants: of this process, with all devices.
        superlink: of the server's SuperLink.
        serverapp: of the server's ServerApp.
    """

    seconds: float
    participants: int
    superlink: int
    serverapp: int


class Soaked(NamedTuple):
    """The result of a soak.

    Attributes:
        rounds: that were asked for.
        log: what `rounds.json` says about each round.
        faults: injected, in order.
        lost_interactions: acknowledged by a store, and not there at the end.
        replies: what became of all that devices have sent.
        memory: over time.
        seconds: that it took.
        completed: whether the server has ended well.
    """

    rounds: int
    log: Sequence[Mapping[str, Any]]
    faults: Sequence[str]
    lost_interactions: int
    replies: Account
    memory: Sequence[Memory]
    seconds: float
    completed: bool

    @property
    def lost_rounds(self) -> int:
        """Rounds that are absent from the records, or there more than once."""
        seen = Counter(int(each["round"]) for each in self.log)
        return sum(seen[number] != 1 for number in range(1, self.rounds + 1))

    @property
    def survived(self) -> int:
        """Faults survived: all of them, if the run has completed."""
        return len(self.faults) if self.completed and not self.lost_rounds else 0

    @property
    def growth(self) -> dict[str, float]:
        """By process, how much more memory the last quarter of the time had than the second, as a fraction."""
        return {name: growth(quarters(self.memory, name)) for name in Memory._fields[1:]}

    @property
    def is_flat(self) -> bool:
        """Whether no process had 5% more memory in the last quarter than in the second."""
        return max(self.growth.values()) <= _FLAT

    @property
    def lost_nothing(self) -> bool:
        """Whether every round, interaction and reply is accounted for."""
        return self.completed and not self.lost_rounds and not self.lost_interactions and self.replies.is_balanced

    def as_json(self) -> dict[str, Any]:
        """The figures by name."""
        return {
            "rounds": self.rounds,
            "rounds_lost": self.lost_rounds,
            "interactions_lost": self.lost_interactions,
            "faults": dict(Counter(self.faults)),
            "faults_survived": self.survived,
            "replies": {"sent": self.replies.sent, **self.replies._asdict()},
            "memory": {name: quarters(self.memory, name) for name in Memory._fields[1:]},
            "memory_growth": {name: round(value, 4) for name, value in self.growth.items()},
            "seconds": round(self.seconds, 1),
        }

    def lines(self) -> list[str]:
        """The figures for people."""
        kinds = ", ".join(f"{number} {kind}" for kind, number in sorted(Counter(self.faults).items()))
        sent = self.replies
        lines = [
            f"rounds {self.rounds}, lost {self.lost_rounds}; interactions lost {self.lost_interactions}; "
            f"{self.seconds:.0f} s",
            f"faults injected {len(self.faults)} ({kinds}), survived {self.survived}",
            f"replies sent {sent.sent}: {sent.counted} counted, {sent.refused} refused by the server, {sent.declined} "
            f"declined by devices, {sent.late} late, {sent.killed} to a ServerApp that was killed, {sent.again} asked "
            f"for again; unaccounted {sent.unaccounted}",
            f"bad replies that counted {sent.spoiled}, replies that nobody has sent {sent.invented}, devices that "
            f"Flower reports as silent {sent.silent}",
        ]
        for name, change in self.growth.items():
            shown = ", ".join(f"{value:.0f}" for value in quarters(self.memory, name))
            lines.append(f"memory of {name} by quarter: {shown} MB; the last against the second: {100 * change:+.1f}%")
        return lines


def quarters(memory: Sequence[Memory], name: str) -> list[float]:
    """The median of each quarter of the time, in megabytes; 0 for a quarter without figures."""
    begin, end = (choose((each.seconds for each in memory), default=0.0) for choose in (min, max))
    values: list[list[int]] = [[], [], [], []]
    for each in memory:
        if value := getattr(each, name):
            values[min(3, int(4 * (each.seconds - begin) / ((end - begin) or 1.0)))].append(value)
    return [round(statistics.median(quarter) / 1e6, 1) if quarter else 0.0 for quarter in values]


def growth(medians: Sequence[float]) -> float:
    """The last quarter against the second, as a fraction; 0 if one of them has no figures."""
    second, last = medians[1], medians[-1]
    return last / second - 1 if second and last else 0.0
