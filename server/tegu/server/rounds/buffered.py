"""Asynchronous rounds: the server takes a step whenever its buffer holds enough answers, however old they are.

Nguyen et al. 2022, "Federated learning with buffered asynchronous aggregation" (FedBuff), arXiv:2106.06639. Nodes that
have answered are asked again, or others in their place, so that as many nodes as a cohort has are always at work. A
slow node delays nobody: its answer enters a later step, with the weight of `tegu.server.rounds.staleness`. A step is
what a round is elsewhere: it has a number, a record, a checkpoint and perhaps a validation.

A node is in a buffer once at most. Answers that are more than `most_stale` steps old are dropped and counted. What was
in flight when a run was stopped is dropped too: the run goes on from its checkpoint, and asks anew.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Collection
from dataclasses import replace

from flwr.app import Message
from flwr.serverapp import Grid

from tegu.server.rounds.clock import SYSTEM_CLOCK, Clock
from tegu.server.rounds.closing import check_quorum
from tegu.server.rounds.found import Found, MessageTo, Read, bytes_of
from tegu.server.rounds.gather import POLL_SECONDS
from tegu.server.rounds.mailbox import Arrival, Mailbox
from tegu.server.rounds.reliability import MOST_ROUNDS_OUT, Reliability, after_round
from tegu.server.rounds.reply_plan import ReplyPlan
from tegu.server.rounds.selection import candidates, draw_nodes
from tegu.server.rounds.waiting import wait_for_nodes

__all__ = ["BufferedRounds"]


class BufferedRounds:
    """Runs the steps of an asynchronous run on a grid.

    Args:
        grid: the nodes.
        plan: size of the buffer, and when answers are too old.
        at_once: number of nodes that are at work at a time.
        seed: of the run.
        wait_seconds: how long to wait until the quorum is connected.
        reliability: failures in the earlier steps of a resumed run.
        clock: the time.
        tell: told in a line of text when a step has to wait.
    """

    def __init__(
        self,
        grid: Grid,
        plan: ReplyPlan,
        at_once: int,
        seed: int,
        *,
        wait_seconds: float = 60.0,
        reliability: Reliability | None = None,
        clock: Clock = SYSTEM_CLOCK,
        tell: Callable[[str], None] = lambda text: None,
    ) -> None:
        self._grid, self._plan, self._at_once, self._seed = grid, plan, at_once, seed
        self._quorum = plan.quorum_of(plan.buffer)
        self._wait_seconds, self._clock, self._tell = wait_seconds, clock, tell
        self._reliability: Reliability = dict(reliability or {})
        self._mail = Mailbox(grid)
        self._in_flight: dict[int, Message] = {}
        self._arrived = deque[Arrival]()  # more than a step has taken; the next one begins with them

    def __repr__(self) -> str:
        return f"BufferedRounds({self._at_once} nodes at a time, buffer of {self._plan.buffer})"

    @property
    def busy(self) -> Collection[int]:
        """Ids of the nodes that are at work."""
        return self._in_flight.keys()

    def run(self, number: int, message_to: MessageTo, read: Read) -> Found:
        """As `tegu.server.rounds.found.Rounds` says: fills the buffer."""
        step = _Step(number)
        step.late = self._drop_stale(number)
        wait_for_nodes(
            self._grid,
            self._plan.buffer,
            self._quorum,
            self._wait_seconds,
            self._clock,
            self._tell,
            set(self._reliability),
        )
        began, attempt = self._clock.now(), 1
        while True:
            self._arrived.extend(self._mail.collect())
            while self._arrived and len(step.found.usable) < self._plan.buffer:
                self._take(step, self._arrived.popleft(), read)
            if len(step.found.usable) >= self._plan.buffer:
                break
            if self._clock.now() - began >= self._plan.deadline:
                if len(step.found.usable) >= self._quorum or attempt == self._plan.attempts:
                    break
                began, attempt = self._clock.now(), attempt + 1
                self._tell(
                    f"step {number}: {len(step.found.usable)} of {self._plan.buffer} answers, attempt {attempt} of "
                    f"{self._plan.attempts}"
                )
            self._refill(step, message_to)
            self._clock.sleep(POLL_SECONDS)
        found = replace(step.found, late=step.late, in_flight=len(self._in_flight))
        failed = {each.node for each in found.refused} | set(found.late)
        self._reliability = after_round(self._reliability, number, set(found.usable), failed - set(found.usable))
        check_quorum(number, found, self._quorum, attempt)
        return found

    def _take(self, step: _Step, arrival: Arrival, read: Read) -> None:
        """Check an answer and put it into the buffer, unless it is too old."""
        if self._in_flight.get(arrival.node) is not arrival.sent:
            step.found = replace(step.found, came_late=step.found.came_late + (not arrival.reply.has_error()))
            return
        del self._in_flight[arrival.node]
        usable, refused = read([arrival.reply])
        step.found = replace(
            step.found,
            usable=step.found.usable | usable,
            refused=step.found.refused + refused,
            received=step.found.received + bytes_of([arrival.reply]),
            stale={**step.found.stale, arrival.node: step.number - _version(arrival.sent)},
        )

    def _drop_stale(self, number: int) -> tuple[int, ...]:
        """Stop waiting for answers that would be too old. They are dropped and counted when they come."""
        late = tuple(
            sorted(
                node for node, message in self._in_flight.items() if number - _version(message) > self._plan.most_stale
            )
        )
        for node in late:
            del self._in_flight[node]
        return late

    def _refill(self, step: _Step, message_to: MessageTo) -> None:
        """Ask nodes until as many are at work as may be. Who is in the buffer or has failed in this step is not."""
        free = self._at_once - len(self._in_flight)
        if free <= 0:
            return
        out = {*self._in_flight, *step.found.usable, *(each.node for each in step.found.refused), *step.late}
        connected = [node for node in self._grid.get_node_ids() if node not in out]
        busy = self._mail.nodes_since(step.number - self._plan.most_stale - MOST_ROUNDS_OUT)
        needed = self._plan.buffer - len(step.found.usable) - len(self._in_flight)
        pool = candidates(connected, self._reliability, step.number, needed, busy)
        step.draws += 1
        chosen = draw_nodes(pool, min(free, len(pool)), self._seed, step.number, step.draws)
        for message in self._mail.send([message_to(node) for node in chosen]):
            self._in_flight[message.metadata.dst_node_id] = message


class _Step:
    """What a step has found so far."""

    def __init__(self, number: int) -> None:
        self.number, self.draws = number, 0
        self.found = Found({}, [])
        self.late: tuple[int, ...] = ()


def _version(message: Message) -> int:
    """The step whose parameters a message holds."""
    return int(message.metadata.group_id)
