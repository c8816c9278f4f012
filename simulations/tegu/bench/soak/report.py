"""What came of a soak: faults, rounds, interactions, refusals, and memory by quarter."""

from __future__ import annotations

import statistics
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

__all__ = ["Memory", "Soaked", "quarters"]


class Memory(NamedTuple):
    """Resident memory at one moment, in bytes; 0 where a process did not run.

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
        devices: that were asked in each round, without those that refuse all rounds, which a server asks less often.
        faults: injected, in order.
        lost_interactions: acknowledged by a store, and not there at the end.
        refused_by_devices: refusals that devices have sent.
        memory: over time.
        seconds: that it took.
        completed: whether the server has ended well.
    """

    rounds: int
    log: Sequence[Mapping[str, Any]]
    devices: int
    faults: Sequence[str]
    lost_interactions: int
    refused_by_devices: int
    memory: Sequence[Memory]
    seconds: float
    completed: bool

    @property
    def lost_rounds(self) -> int:
        """Rounds that are absent from the records, or there more than once."""
        seen = Counter(int(each["round"]) for each in self.log)
        return sum(seen[number] != 1 for number in range(1, self.rounds + 1))

    @property
    def refused(self) -> int:
        """Replies that the records name as refused, by the server or by the device."""
        return sum(len(each["refused"]) + len(each["failed"]) for each in self.log)

    @property
    def unaccounted(self) -> int:
        """Devices that a round should have and has not, and refusals in the records that no device has sent."""
        absent = sum(max(0, self.devices - len(each["nodes"]) - len(each["late"])) for each in self.log)
        return absent + max(0, self.refused - self.refused_by_devices)

    @property
    def survived(self) -> int:
        """Faults survived: all of them, if the run has completed."""
        return len(self.faults) if self.completed and not self.lost_rounds else 0

    def as_json(self) -> dict[str, Any]:
        """The figures by name."""
        return {
            "rounds": self.rounds,
            "rounds_lost": self.lost_rounds,
            "interactions_lost": self.lost_interactions,
            "faults": dict(Counter(self.faults)),
            "faults_survived": self.survived,
            "refused": self.refused,
            "refused_by_devices": self.refused_by_devices,
            "unaccounted": self.unaccounted,
            "memory": {name: quarters(self.memory, name) for name in Memory._fields[1:]},
            "seconds": round(self.seconds, 1),
        }

    def lines(self) -> list[str]:
        """The figures for people."""
        found = self.as_json()
        kinds = ", ".join(f"{number} {kind}" for kind, number in sorted(found["faults"].items()))
        lines = [
            f"rounds {self.rounds}, lost {self.lost_rounds}; interactions lost {self.lost_interactions}; "
            f"{self.seconds:.0f} s",
            f"faults injected {len(self.faults)} ({kinds}), survived {self.survived}",
            f"refused replies {self.refused} in the records, {self.refused_by_devices} sent by devices; "
            f"unaccounted {self.unaccounted}",
        ]
        for name, values in found["memory"].items():
            shown = ", ".join(f"{value:.0f}" for value in values)
            second, last = values[1], values[-1]
            growth = f"{100 * (last / second - 1):+.1f}%" if second else "unknown"
            lines.append(f"memory of {name} by quarter: {shown} MB; the last against the second: {growth}")
        return lines


def quarters(memory: Sequence[Memory], name: str) -> list[float]:
    """The median of each quarter of the time, in megabytes; 0 for a quarter without figures."""
    begin, end = (choose((each.seconds for each in memory), default=0.0) for choose in (min, max))
    values: list[list[int]] = [[], [], [], []]
    for each in memory:
        if value := getattr(each, name):
            values[min(3, int(4 * (each.seconds - begin) / ((end - begin) or 1.0)))].append(value)
    return [round(statistics.median(quarter) / 1e6, 1) if quarter else 0.0 for quarter in values]
