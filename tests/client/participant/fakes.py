"""A server that a participant's loop talks to, without a network."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from tests.federation.tiny import bundle, population

from tegu.client import Personalizer
from tegu.client.federation.http import OverBudgetError, RefusedError, UnreachableError
from tegu.client.federation.minimums import Minimums
from tegu.client.federation.versions import BundlePlace
from tegu.client.participant import ParticipantState, Policy
from tegu.client.participant.flower import records
from tegu.client.participant.loop import Loop
from tegu.client.participant.rounds import Rounds
from tegu.core.bundle.version import version_of
from tegu.core.sampling.episode import EpisodeRule
from tegu.wire import RoundConfig, Version, to_record, training_request_content

QUICK = Policy(poll_seconds=0.01, idle_seconds=0.01, seed=3)
ANY = Minimums(least_rows=0)
CONFIG = RoundConfig(round=2, seed=7, clip=0.4, episodes=EpisodeRule(2, 6, 4))
USER = 2


class Connection:
    """Counts bytes."""

    transferred = 0


class Fleet:
    """A server with messages for one node. `away` and `unknown` make it fail."""

    def __init__(self) -> None:
        self.node: int | None = None
        self.most = 0
        self.connection = Connection()
        self.waiting: deque[Any] = deque()
        self.calls: list[str] = []
        self.replies: list[Any] = []
        self.away = self.unknown = False
        self.pushes_lost = 0
        self.size = 1000
        self.when_fetched: Callable[[], None] = lambda: None

    def _call(self, name: str, size: int = 1000) -> None:
        self.calls.append(name)
        if self.away:
            raise UnreachableError("away")
        if self.connection.transferred + size > self.most:
            raise OverBudgetError("too much")
        self.connection.transferred += size
        if self.unknown:
            raise RefusedError(401, 0, name)

    def activate(self) -> None:
        self._call("activate")
        self.node = 1

    def heartbeat(self) -> bool:
        self._call("heartbeat")
        return True

    def deactivate(self) -> None:
        self._call("deactivate")
        self.node = None

    def pull(self) -> Any:
        self._call("pull")
        return self.waiting.popleft() if self.waiting else None

    def fetch(self, pulled: Any) -> Any:
        self._call("fetch", self.size)
        self.when_fetched()
        return pulled.content

    def push(self, pulled: Any, reply: Any, seconds: float) -> None:
        self._call("push")
        if self.pushes_lost:
            self.pushes_lost -= 1
            raise UnreachableError("away")
        self.replies.append(reply)

    def close(self) -> None:
        self.calls.append("close")


def own_records(content: Any) -> Any:
    """A Flower content in a participant's classes."""
    kinds = {"ArrayRecord": records.ArrayRecord, "ConfigRecord": records.ConfigRecord}
    return records.RecordDict({name: kinds[type(each).__name__](dict(each)) for name, each in content.items()})


def train_content(version: Version | None = None, config: RoundConfig = CONFIG) -> Any:
    content = own_records(training_request_content(to_record(bundle().meta), config))
    if version is not None:
        content["version"] = records.ConfigRecord(version._asdict())
    return content


def train_message(version: Version | None = None, config: RoundConfig = CONFIG) -> Any:
    metadata = SimpleNamespace(message_type="train", group_id=str(config.round), run_id=5, dst_node_id=1)
    return SimpleNamespace(metadata=metadata, content=train_content(version, config))


class Device:
    """A personalizer with a user's rows and the loop of a participant."""

    def __init__(
        self,
        folder: Path,
        policy: Policy = QUICK,
        minimums: Minimums = ANY,
        place: BundlePlace | None = None,
        *,
        agreed: bool = True,
        path: str = "user.db",
    ) -> None:
        self.personalizer = Personalizer.open(bundle(), folder / path)
        people = population(9)
        if not self.personalizer.count:
            self.personalizer.observe(*people.rows(USER))
        if agreed:
            self.personalizer.opt_in()
        self.fleet, self.state = Fleet(), ParticipantState()
        self.rounds = Rounds(self.personalizer, minimums, 1, place, str(people.users[USER]))
        store = self.personalizer.store
        fleet: Any = self.fleet
        self.loop = Loop(fleet, fleet.connection, self.rounds, store, policy, minimums, self._report)

    def _report(self, **changes: Any) -> None:
        self.state = replace(self.state, **changes)

    def step(self, times: int = 1) -> float:
        """Steps of the loop; the wait after the last."""
        wait = 0.0
        for _ in range(times):
            wait = self.loop._guarded(self.loop._step)
        return wait


def own_version() -> str:
    return version_of(bundle())
