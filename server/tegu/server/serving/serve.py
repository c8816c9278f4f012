"""`tegu serve`: a SuperLink, a SuperExec and a run of the ServerApp, started again until the run has finished.

Nothing that this process knows is needed to go on: the SuperLink keeps its state in a database, and the run keeps its
rounds in checkpoints. So any of the three, or this process, may be killed at any moment.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import NamedTuple

from tegu.core.bundle.file import read_bundle, write_bundle
from tegu.core.errors import (
    BundleError,
    CompileError,
    DataError,
    FederationError,
    FileError,
    MissingExtraError,
    PopulationError,
    SignatureError,
    UnknownNameError,
)
from tegu.server.app import APP_DIR, RESULT, finished_text
from tegu.server.rounds.waiting import GRACE_SECONDS, waiting_text
from tegu.server.serving.control import Control
from tegu.server.serving.follow import describe
from tegu.server.serving.processes import back_off, own_folder
from tegu.server.serving.server import Server
from tegu.server.serving.superlink import Tended, running_superlink
from tegu.server.serving.trackers import Track, tracking
from tegu.server.training.automatic import settled
from tegu.server.training.journal import Event, read_events
from tegu.server.training.run_folder import check_run, hold_folder, is_held
from tegu.server.training.run_record import bundle_record

__all__ = ["serve"]

Say = Callable[[str], None]
_POLL_SECONDS = 1.0
_ASK_SECONDS = 5.0  # between questions to the SuperLink
_FREE_POLLS = 3  # polls in succession without a lock, after which the ServerApp was killed
_MOST_FAILURES = 5  # runs in succession that fail without a new round
# Nothing that time mends. All else may come of a SuperLink that was killed between the requests of a ServerApp.
_FOR_GOOD = frozenset(
    kind.__name__
    for kind in (
        BundleError, SignatureError, DataError, PopulationError, UnknownNameError, FileError, CompileError,
        MissingExtraError,
    )
)  # fmt: skip


def serve(server: Server, say: Say) -> Path:
    """Run the federation until the result is written, sign it if a key was given, and return its path.

    Args:
        server: of `prepare_server`.
        say: told what happens, in lines of text.

    Raises:
        FederationError: another server or run has the folder, a process does not start, or the run fails for good.
    """
    result = server.out / RESULT
    with own_folder(server.state, "a server") as mark:  # which ends what a killed server has left running
        if server.is_done:
            say(finished_text(server.out))
        else:
            with hold_folder(server.checkpoints):  # so that another run's folder is refused before anything starts
                check_run(server.checkpoints, bundle_record(server.start, server.plan))
            with running_superlink(server, mark, say) as tended:
                say(f"serving at {server.listen}{'' if server.ca else ' without TLS and authentication'}")
                tended.ask(_stop_old_runs)
                with tracking(server, say) as track:
                    _run_until_done(tended, server, say, track)
    if server.signing_key is not None:
        write_bundle(result, read_bundle(result), private_key=server.signing_key)
        say(f"signed {result}")
    return result


class _Ended(NamedTuple):
    """How a run has ended, by its journal and by Flower."""

    events: list[Event]
    details: str = "it was killed"

    @property
    def failure(self) -> Mapping[str, str] | None:
        """The error that the ServerApp has ended with; None if it was killed."""
        return next((event for event in self.events if event["event"] == "failed"), None)

    @property
    def rounds(self) -> int:
        """Number of rounds that it has run."""
        return sum(event["event"] == "round" for event in self.events)


def _run_until_done(tended: Tended, server: Server, say: Say, track: Track) -> None:
    """Start runs until one has written the result. Each goes on from the last checkpoint."""
    failures, metric = 0, server.plan.calibration.metric_for(server.start.manifest.spec).name

    def tell(event: Event) -> None:
        say(describe(event, metric))
        track(event)

    while not server.is_done:
        _wait_for_nodes(tended, server, say)
        position = read_events(server.checkpoints)[1]
        run = tended.ask(lambda control: control.start_run(APP_DIR, server.config))
        if run is None:
            tended.pause(_POLL_SECONDS)
            continue
        ended = _follow(tended, server, run, position, tell)
        if not server.is_done:
            failures = 1 if ended.rounds else failures + 1
            _give_up_if_hopeless(server, ended, failures)
            wait = back_off(failures, 0.5)
            say(f"the run has ended before its last round ({ended.details}): it is resumed in {wait:.0f} s")
            tended.ask(_stop_old_runs)
            tended.pause(wait)


def _give_up_if_hopeless(server: Server, ended: _Ended, failures: int) -> None:
    """Raise what the run has failed with, unless another try may help, as where the SuperLink was killed meanwhile."""
    failure = ended.failure
    if failures >= _MOST_FAILURES or (failure is not None and failure["kind"] in _FOR_GOOD):
        why = failure["error"] if failure else ended.details
        raise FederationError(
            f"the run has failed, and a new round was not reached: {why}. The checkpoints are kept, and the logs are "
            f"in {server.state}"
        )


def _follow(tended: Tended, server: Server, run: int, position: int, tell: Callable[[Event], None]) -> _Ended:
    """Tell what happens in a run until it ends. Its journal is read from a position on."""
    seen: list[Event] = []
    asked, free = 0.0, 0
    while True:
        events, position = read_events(server.checkpoints, position)
        seen += events
        for event in events:
            tell(event)
        if any(event["event"] in ("failed", "finished") for event in events):
            return _Ended(seen, "see above")
        # Flower notices after a minute that a ServerApp was killed. Its lock ends with it.
        free = free + 1 if seen and not is_held(server.checkpoints) else 0
        if free >= _FREE_POLLS:
            return _Ended(seen)
        if time.monotonic() - asked >= _ASK_SECONDS:
            asked = time.monotonic()
            status = tended.ask(lambda control: control.run(run))
            if status is not None and status.is_finished and not events:
                return _Ended(seen, status.details or status.how)
        tended.pause(_POLL_SECONDS)


def _wait_for_nodes(tended: Tended, server: Server, say: Say) -> None:
    """Wait until a round's nodes are connected, or its quorum for a while, and tell how many are."""
    wanted = settled(server.plan).cohort
    quorum = server.plan.replies.quorum_of(server.plan.replies.buffer or wanted)
    shown, began = -1, time.monotonic()
    while True:
        connected = tended.ask(_connected)
        if connected is not None:
            enough = quorum if time.monotonic() - began >= GRACE_SECONDS else wanted
            if connected >= enough:
                return
            if connected != shown:
                shown = connected
                say(waiting_text(connected, wanted))
        tended.pause(_POLL_SECONDS)


def _connected(control: Control) -> int:
    return sum(node.is_online for node in control.nodes())


def _stop_old_runs(control: Control) -> None:
    """Stop the runs that an earlier server has left in the database: their ServerApps are gone."""
    for run in control.unfinished_runs():
        control.stop_run(run.id)
