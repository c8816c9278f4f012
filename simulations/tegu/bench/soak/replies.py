"""Every reply that devices have sent, and what the server's journal says of each."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, NamedTuple

from tegu.client.participant import loop

__all__ = ["Account", "Replies", "Sent", "account", "listening"]


class Sent(NamedTuple):
    """A reply.

    Attributes:
        round: that it answers, as the message names it.
        run: Flower's id of the run.
        node: the device.
    """

    round: str
    run: str
    node: str


class Replies(logging.Handler):
    """Hears from the devices' own logs what they send.

    Attributes:
        tried: what each reply was, in words, by reply: those that a device has begun to send.
        arrived: how often the server has confirmed each.
    """

    def __init__(self) -> None:
        super().__init__(logging.INFO)
        self.tried: dict[Sent, str] = {}
        self.arrived = Counter[Sent]()

    def emit(self, record: logging.LogRecord) -> None:
        """Take a line of a participant's log."""
        if record.msg in (loop.SENDING, loop.SENT) and isinstance(record.args, tuple):
            group, run, node, what = record.args
            (self.sending if record.msg == loop.SENDING else self.sent)(
                str(group), int(str(run)), int(str(node)), str(what)
            )

    def sending(self, group: str, run: int, node: int, what: str) -> None:
        """A device begins to send a reply."""
        self.tried[Sent(group, str(run), str(node))] = what

    def sent(self, group: str, run: int, node: int, what: str) -> None:
        """The server has confirmed a reply."""
        del what
        self.arrived[Sent(group, str(run), str(node))] += 1


@contextmanager
def listening() -> Iterator[Replies]:
    """The replies that are sent from now on by the participants of this process."""
    logger, found = logging.getLogger(loop.__name__), Replies()
    level = logger.level
    logger.addHandler(found)
    logger.setLevel(logging.INFO)
    try:
        yield found
    finally:
        logger.removeHandler(found)
        logger.setLevel(level)


class Account(NamedTuple):
    """What became of the replies. Each reply that the server has confirmed is in one of the first six.

    Attributes:
        counted: the journal names the node among those whose replies counted.
        refused: the journal names it among those that the server has refused.
        declined: the journal names it among the devices that have reported why they do not answer.
        late: the round had closed before.
        killed: the ServerApp that had asked was killed before the round had closed: the journal has a later start.
        again: the server took the reply for lost and asked the device once more.
        unaccounted: none of these.
        invented: the journal has a reply that no device has sent.
        silent: failures in the journal that Flower reports for devices that did not answer.
        spoiled: replies that had to be refused, and counted.
    """

    counted: int = 0
    refused: int = 0
    declined: int = 0
    late: int = 0
    killed: int = 0
    again: int = 0
    unaccounted: int = 0
    invented: int = 0
    silent: int = 0
    spoiled: int = 0

    @property
    def sent(self) -> int:
        """Replies that the server has confirmed."""
        return sum(self[:7])

    @property
    def is_balanced(self) -> bool:
        """Whether each reply is accounted for."""
        return not (self.unaccounted or self.invented or self.spoiled)


def account(tried: Mapping[Sent, str], arrived: Mapping[Sent, int], events: Iterable[Mapping[str, Any]]) -> Account:
    """Compare what devices have sent with the server's journal.

    Args:
        tried: replies that devices have begun to send, and what they were.
        arrived: those that the server has confirmed, and how often.
        events: of the journal.
    """
    closed, runs = _closed(events)
    last = runs[-1] if runs else ""
    found = Counter(_fate(sent, closed.get((sent.run, sent.round)), last) for sent in arrived)
    found["again"] = sum(arrived.values()) - len(arrived)
    for (run, number), event in closed.items():
        for kind in ("counted", "refused", "declined"):
            for node in _named(event)[kind]:
                what = tried.get(Sent(number, run, node))
                if what is None:
                    found["silent" if kind == "declined" else "invented"] += 1
                elif kind == "counted" and what != "an answer":
                    found["spoiled"] += 1
    return Account(**found)


def _closed(events: Iterable[Mapping[str, Any]]) -> tuple[dict[tuple[str, str], Mapping[str, Any]], list[str]]:
    """The rounds that have closed, by run and number, and the runs in order."""
    closed, runs = {}, []
    for event in events:
        if event["event"] == "start":
            runs.append(str(event["run"]))
        elif event["event"] == "round":
            closed[runs[-1], str(event["round"])] = event
    return closed, runs


def _named(event: Mapping[str, Any]) -> dict[str, list[str]]:
    return {
        "counted": list(event["nodes"]),
        "refused": [each["node"] for each in event["refused"]],
        "declined": [each["node"] for each in event["failed"]],
        "late": list(event["late"]),
    }


def _fate(sent: Sent, event: Mapping[str, Any] | None, last: str) -> str:
    if event is None:
        return "killed" if sent.run != last else "unaccounted"
    return next((kind for kind, names in _named(event).items() if sent.node in names), "unaccounted")
