"""What devices have sent, against a journal."""

from __future__ import annotations

import logging
from typing import Any

import pytest

from tegu.bench.soak.replies import Account, Sent, account, listening
from tegu.client.participant.loop import SENDING, SENT

START = {"event": "start", "run": "7"}
REASON = {"code": "failed", "reason": "the participant failed"}


def closed(number: int, nodes: str = "", failed: str = "", refused: str = "", late: str = "") -> dict[str, Any]:
    return {
        "event": "round",
        "round": number,
        "nodes": list(nodes),
        "failed": [{**REASON, "node": node} for node in failed],
        "refused": [{**REASON, "node": node} for node in refused],
        "late": list(late),
    }


def sent(node: str, number: int = 1, run: str = "7") -> Sent:
    return Sent(str(number), run, node)


def found(tried: dict[Sent, str], *events: dict[str, Any], twice: Sent | None = None) -> Account:
    return account(tried, {each: 1 + (each == twice) for each in tried}, [START, *events])


ANSWER, DECLINED, SPOILT = "an answer", "FederationError: large-clip", "not finite"


def test_each_reply_has_one_fate() -> None:
    tried = {sent("a"): ANSWER, sent("b"): DECLINED, sent("c"): SPOILT, sent("d"): ANSWER}
    assert found(tried, closed(1, "a", "b", "c", "d")) == Account(counted=1, declined=1, refused=1, late=1)
    assert found(tried, closed(1, "a", "b", "c", "d")).sent == 4
    assert found(tried, closed(1, "a", "b", "c", "d"), twice=sent("a")).again == 1


def test_a_round_that_a_killed_serverapp_has_not_closed_has_lost_its_replies() -> None:
    tried = {sent("a"): DECLINED, sent("a", run="8"): DECLINED}
    assert found(tried, {**START, "run": "8"}, closed(1, failed="a")) == Account(declined=1, killed=1)


@pytest.mark.parametrize(
    ("tried", "events", "expected"),
    [
        ({sent("a"): DECLINED}, [closed(1, "b")], Account(unaccounted=1, invented=1)),
        ({sent("a"): DECLINED}, [], Account(unaccounted=1)),
        ({}, [closed(1, refused="a")], Account(invented=1)),
        ({sent("a"): SPOILT}, [closed(1, "a")], Account(counted=1, spoiled=1)),
    ],
)
def test_what_does_not_balance_is_seen(tried: Any, events: Any, expected: Account) -> None:
    assert found(tried, *events) == expected
    assert not expected.is_balanced


def test_a_device_that_says_nothing_is_silent() -> None:
    silent = found({}, closed(1, failed="a", late="b"))
    assert silent == Account(silent=1)
    assert silent.is_balanced


def test_what_is_tried_and_not_confirmed_may_be_in_the_journal_or_not() -> None:
    tried = {sent("a"): DECLINED, sent("b"): DECLINED}
    assert account(tried, {}, [START, closed(1, failed="a")]) == Account()


def test_the_devices_own_log_is_heard_while_it_is_wanted() -> None:
    logger = logging.getLogger("tegu.client.participant.loop")
    with listening() as replies:
        logger.info(SENDING, "3", 2**63, 2**64 - 1, DECLINED)
        assert replies.tried == {Sent("3", str(2**63), str(2**64 - 1)): DECLINED}
        assert not replies.arrived
        logger.info(SENT, "3", 2**63, 2**64 - 1, DECLINED)
        assert list(replies.arrived.values()) == [1]
    logger.info(SENDING, "4", 1, 1, DECLINED)
    assert len(replies.tried) == 1
