"""What a participant's thread does: it asks for messages and answers them, or sits out."""

from __future__ import annotations

import logging
import random
import threading
import time
from collections.abc import Callable
from typing import Any, NamedTuple

from tegu.client.consent import Consent
from tegu.client.federation.http import Connection, OverBudgetError, RefusedError, UnreachableError
from tegu.client.federation.minimums import Minimums
from tegu.client.participant.budget import ByteBudget
from tegu.client.participant.flower.fleet import HEARTBEAT_SECONDS, Fleet, Pulled
from tegu.client.participant.flower.records import RecordDict
from tegu.client.participant.policy import Policy, back_off
from tegu.client.participant.rounds import Rounds, refusal
from tegu.client.store.store import Store
from tegu.core.errors import TeguError

__all__ = ["SENDING", "SENT", "Loop"]

_log = logging.getLogger(__name__)
SENDING = "sends to round %s of run %d, as node %d: %s"
SENT = "has sent to round %s of run %d, as node %d: %s"
_UNAUTHORISED = 401  # the server does not know the node any more
_LEAST_ROWS = 2  # a support and a query
_RESERVE_BYTES = 20_000  # of a day, for telling the server that the device leaves
_BUSY_SECONDS = 60.0  # after a message, the next one comes soon
_SLOWER = 1.5
_SIT_OUT_SECONDS = 5.0  # until the device is asked again whether it takes part
_HEARTBEAT_SHARE = 0.8  # of the time that the server waits for one
_MOST_WAITING = 8  # messages that are refused on leaving
_AWAY_SECONDS = 3.0  # a server asks about its replies every half second
_MOST_TRIES = 6  # half a minute and more, with back-off


class _Unsent(NamedTuple):
    """A message whose reply the server has not confirmed.

    Attributes:
        pulled: the message.
        reply: to it; None if it is not computed yet.
        tries: that have failed.
    """

    pulled: Pulled
    reply: RecordDict | str | None = None
    tries: int = 0


class Loop:
    """The work of a participant's thread. Nothing is raised out of `run`.

    Args:
        fleet: the node.
        connection: that the node uses.
        rounds: answers messages.
        store: of the user.
        policy: of the device.
        minimums: of the device.
        report: receives what changes of `ParticipantState`.

    Raises:
        StoreError: the store cannot be read.
    """

    def __init__(
        self,
        fleet: Fleet,
        connection: Connection,
        rounds: Rounds,
        store: Store,
        policy: Policy,
        minimums: Minimums,
        report: Callable[..., None],
    ) -> None:
        self._fleet, self._connection, self._rounds, self._store = fleet, connection, rounds, store
        self._policy, self._minimums, self._report = policy, minimums, report
        self._consent: Consent = store.consent
        self._budget = ByteBudget(self._consent, policy.daily_bytes)
        self._jitter = random.Random(policy.seed)  # noqa: S311 # spreads devices over time, and hides nothing
        self._counted = self._failures = self._answered = self._refusals = 0
        self._heartbeat_due = self._not_before = 0.0
        self._last_message, self._pause = float("-inf"), policy.poll_seconds
        self._unsent: _Unsent | None = None
        self._pull_failed = False

    def run(self, stopping: threading.Event, goodbye: threading.Event) -> None:
        """Take part until `stopping` is set, and then leave: with a word to the server if `goodbye` is set, too."""
        while not stopping.is_set():
            stopping.wait(self._guarded(self._step))
        if goodbye.is_set():
            self._guarded(self._leave)
        self._guarded(self._write_budget)
        self._fleet.close()
        self._report(status="stopped", why="")

    def _guarded(self, step: Callable[..., float], *arguments: Any) -> float:
        """Take a step, and return the seconds to wait; whatever fails is reported."""
        try:
            wait = step(*arguments)
        except UnreachableError as error:
            wait = self._failed("unreachable", error)
        except RefusedError as error:
            if error.status == _UNAUTHORISED:
                self._fleet.node = None
            wait = self._failed("refused", error)
        except TeguError as error:  # such as a store that the app has closed
            _log.warning("a participant goes on after an error: %s", error)
            wait = self._failed("sits out", error)
        except Exception as error:  # an app must not end because it takes part
            _log.exception("a participant goes on after an error")
            wait = self._failed("sits out", error)
        else:
            self._failures = 0
        return wait

    def _failed(self, status: str, error: Exception) -> float:
        self._failures += 1
        self._report(status=status, why=f"{type(error).__name__}: {error}")
        return back_off(self._failures, self._jitter)

    def _step(self) -> float:
        if why := self._why_not():
            self._leave("opted-out" if why == "not-opted-in" else "not-now")
            self._report(status="sits out", why=why, bytes_today=self._budget.used)
            return self._until_asked_again(why)
        self._allow(self._budget.left)
        if self._pull_failed and self._fleet.node is not None:
            return self._leave_for_a_moment()
        if self._fleet.node is None:
            self._fleet.activate()
            self._heartbeat_due = time.monotonic() + _HEARTBEAT_SHARE * HEARTBEAT_SECONDS
        elif time.monotonic() >= self._heartbeat_due:
            self._heartbeat()
        if self._unsent is None:
            pulled = self._pull()
            self._contact()
            if pulled is None:
                return self._pause_without_message()
            self._unsent = _Unsent(pulled)
        self._last_message, self._pause = time.monotonic(), self._policy.poll_seconds
        self._answer(self._unsent)
        self._contact()
        return self._policy.poll_seconds

    def _pull(self) -> Pulled | None:
        try:
            return self._fleet.pull()
        except UnreachableError:
            self._pull_failed = True
            raise

    def _leave_for_a_moment(self) -> float:
        """Leave, so that the server asks again for what it may have handed out to this device when its answer was lost.

        Flower hands a message out once, and reports it as lost only while its device is not connected.
        """
        self._fleet.deactivate()
        self._pull_failed = False
        self._contact()
        return _AWAY_SECONDS

    def _heartbeat(self) -> None:
        self._heartbeat_due = time.monotonic() + _HEARTBEAT_SHARE * HEARTBEAT_SECONDS
        if not self._fleet.heartbeat():
            self._fleet.node = None
            raise UnreachableError("the server does not know this device any more")

    def _answer(self, unsent: _Unsent) -> None:
        """Answer a message. If the server goes away meanwhile, the next step goes on: Flower hands it out only once."""
        pulled, began = unsent.pulled, time.perf_counter()
        self._unsent = None
        try:
            reply = self._reply(pulled) if unsent.reply is None else unsent.reply
            unsent = unsent._replace(reply=reply)
            self._allow(self._budget.left)
            self._send(pulled, reply, time.perf_counter() - began)
        except UnreachableError:
            self._unsent = unsent._replace(tries=unsent.tries + 1) if unsent.tries < _MOST_TRIES else None
            raise
        except OverBudgetError:  # nothing of it counts at the server until all of it has arrived
            _log.warning("a reply is larger than the bytes that are left today")
            self._not_before = time.monotonic() + _SIT_OUT_SECONDS
            return
        except RefusedError as error:
            if error.status == _UNAUTHORISED:
                raise
            _log.info("a reply comes too late: %s", error)
            return
        self._not_before = time.monotonic() + self._policy.least_seconds
        if not isinstance(reply, str):
            self._answered += 1
            self._report(rounds=self._answered, seconds=time.perf_counter() - began)
        self._report(newer_bundle=self._rounds.newer)

    def _send(self, pulled: Pulled, reply: RecordDict | str, computed: float) -> None:
        """Send a reply, and write it to the device's own log: before, and again when the server has it."""
        asked, what = pulled.metadata, reply if isinstance(reply, str) else "an answer"
        which = (asked.group_id, asked.run_id, asked.dst_node_id, what)
        _log.info(SENDING, *which)
        self._fleet.push(pulled, reply, computed)
        _log.info(SENT, *which)
        if isinstance(reply, str):
            self._refusals += 1
            self._report(last_refusal=reply, refusals=self._refusals)

    def _reply(self, pulled: Pulled) -> RecordDict | str:
        """The answer, or the reason for a refusal, such as a message that is larger than the bytes left today."""
        self._allow(self._budget.left - _RESERVE_BYTES)
        try:
            content = self._fleet.fetch(pulled)
        except OverBudgetError:
            return refusal("not-now")
        finally:
            self._count()
        return self._rounds.reply(pulled.metadata.message_type, content, self._consent.read, self._budget.left)

    def _leave(self, code: str = "not-now") -> float:
        """Tell the server that the device leaves, and refuse what is waiting."""
        if self._fleet.node is not None:
            self._allow(max(self._budget.left, _RESERVE_BYTES))
            try:
                for _ in range(_MOST_WAITING):
                    pulled = self._fleet.pull() if self._unsent is None else self._unsent.pulled
                    self._unsent = None
                    if pulled is None:
                        break
                    self._send(pulled, refusal(code), 0.0)
                self._fleet.deactivate()
            except (UnreachableError, RefusedError, OverBudgetError) as error:
                _log.info("the device leaves without a word: %s", error)
            self._fleet.node, self._pull_failed = None, False
            self._fleet.close()
            self._count()
            self._write_budget()
        return 0.0

    def _why_not(self) -> str:
        """Why the device does not take part now, as a code; empty if it does."""
        if self._consent.read() is None:
            return "not-opted-in"
        if not self._allowed():
            return "policy"
        if time.monotonic() < self._not_before:
            return "interval"
        if self._budget.left < _RESERVE_BYTES:
            return "budget"
        if self._store.count() < max(_LEAST_ROWS, self._minimums.least_rows):
            return "few-rows"
        return ""

    def _allowed(self) -> bool:
        try:
            return bool(self._policy.only_when())
        except Exception:  # the app's own function
            _log.exception("only_when has failed, so that the device takes no part")
            return False

    def _until_asked_again(self, why: str) -> float:
        wait = min(_SIT_OUT_SECONDS, self._policy.idle_seconds)
        return min(wait, max(0.0, self._not_before - time.monotonic())) if why == "interval" else wait

    def _pause_without_message(self) -> float:
        if time.monotonic() - self._last_message > _BUSY_SECONDS:
            self._pause = min(self._pause * _SLOWER, max(self._policy.idle_seconds, self._policy.poll_seconds))
        wait = self._pause * self._jitter.uniform(0.75, 1.25)
        return max(0.0, min(wait, self._heartbeat_due - time.monotonic()))

    def _contact(self) -> None:
        self._count()
        self._report(status="connected", why="", last_contact=time.time(), bytes_today=self._budget.used)

    def _allow(self, more: int) -> None:
        """Bytes that the node may use from now on."""
        self._count()
        self._fleet.most = self._connection.transferred + more

    def _count(self) -> None:
        more = self._connection.transferred - self._counted
        self._counted = self._connection.transferred
        self._budget.count(more)

    def _write_budget(self) -> float:
        self._budget.write()
        return 0.0
