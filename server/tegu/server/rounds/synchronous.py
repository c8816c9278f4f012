"""Rounds in which all nodes train the same parameters, after Bonawitz et al. 2019, arXiv:1902.01046.

A round asks more nodes than it wants and closes when as many as it wants have answered, or when its time is up. With
fewer usable answers than the quorum, it asks other nodes; what was answered still counts, since the parameters are the
same.
"""

from __future__ import annotations

from collections.abc import Callable, Collection

from flwr.serverapp import Grid

from tegu.server.rounds.clock import SYSTEM_CLOCK, Clock
from tegu.server.rounds.closing import check_quorum
from tegu.server.rounds.found import Found, MessageTo, Read, bytes_of
from tegu.server.rounds.gather import Question
from tegu.server.rounds.mailbox import Mailbox
from tegu.server.rounds.reliability import MOST_ROUNDS_OUT, Reliability, after_round
from tegu.server.rounds.reply_plan import ReplyPlan
from tegu.server.rounds.selection import candidates, draw_nodes, how_many
from tegu.server.rounds.waiting import wait_for_nodes

__all__ = ["SynchronousRounds"]


class SynchronousRounds:
    """Runs rounds on a grid.

    Args:
        grid: the nodes.
        plan: when a round has enough replies.
        wanted: number of answers that a round wants.
        seed: of the run.
        wait_seconds: how long to wait until the quorum is connected.
        reliability: failures in the earlier rounds of a resumed run.
        clock: the time.
        tell: told in a line of text when a round has to wait or to ask again.
    """

    def __init__(
        self,
        grid: Grid,
        plan: ReplyPlan,
        wanted: int,
        seed: int,
        *,
        wait_seconds: float = 60.0,
        reliability: Reliability | None = None,
        clock: Clock = SYSTEM_CLOCK,
        tell: Callable[[str], None] = lambda text: None,
    ) -> None:
        self._grid, self._plan, self._wanted, self._seed = grid, plan.in_federation(), wanted, seed
        self._quorum = plan.quorum_of(wanted)
        self._wait_seconds, self._clock, self._tell = wait_seconds, clock, tell
        self._reliability: Reliability = dict(reliability or {})
        self._mail = Mailbox(grid)

    def __repr__(self) -> str:
        return f"SynchronousRounds({self._wanted} nodes, quorum {self._quorum})"

    @property
    def busy(self) -> Collection[int]:
        """Ids of nodes that have not answered an earlier round."""
        return self._mail.nodes

    def run(self, number: int, message_to: MessageTo, read: Read) -> Found:
        """As `tegu.server.rounds.found.Rounds` says."""
        question = Question(self._mail, self._grid, self._clock)
        found, attempt = Found({}, []), 0
        while len(found.usable) < self._quorum and attempt < self._plan.attempts:
            attempt += 1
            chosen = self._choose(number, attempt, question, found)
            if not chosen and not question.late:
                break
            question.ask([message_to(node) for node in chosen])
            more = min(self._wanted - len(found.usable), len(chosen) + len(question.late))
            question.wait(question.answered + more, self._plan.deadline)
            replies = question.replies
            usable, refused = read(replies)
            found = Found(usable, refused, question.late, question.came_late, bytes_of(replies))
        failed = question.asked - set(found.usable)
        self._reliability = after_round(self._reliability, number, set(found.usable), failed)
        check_quorum(number, found, self._quorum, attempt)
        return found

    def _choose(self, number: int, attempt: int, question: Question, found: Found) -> list[int]:
        """The nodes to ask: in a later attempt others than before, and then those whose replies were lost or are late.

        A SuperLink that is killed while it hands out a message loses it, and its node looks like a slow one.
        """
        wanted, quorum = self._wanted - len(found.usable), self._quorum - len(found.usable)
        connected = wait_for_nodes(
            self._grid, self._wanted, self._quorum, self._wait_seconds, self._clock, self._tell, set(self._reliability)
        )
        fresh = [node for node in connected if node not in question.asked]
        busy = self._mail.nodes_since(number - MOST_ROUNDS_OUT)  # a node that has lost its message never answers it
        pool = candidates(fresh, self._reliability, number, quorum, busy)
        size = how_many(wanted, float(self._plan.oversampling or 1))
        chosen = draw_nodes(pool, size, self._seed, number, attempt)
        if attempt > 1:
            if len(chosen) < quorum:
                chosen = sorted({*chosen, *({*question.lost, *question.late} & set(connected))})
            self._tell(
                f"round {number}: usable replies of {len(found.usable)} nodes, and the quorum is {self._quorum}: "
                f"attempt {attempt} of {self._plan.attempts} asks {len(chosen)} nodes"
            )
        return chosen
