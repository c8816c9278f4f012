"""The journal of a run: one line of JSON for each event, appended and flushed to the disk before it counts.

It says what happened in each round: who took part, who was refused and why. A round that was run, and run again because
its checkpoint was not yet written, stands there twice; `records_of` takes the later one, so no round is counted twice.

Events have an `event` and an `at`, a time in ISO 8601. Those of a training have the `fold` that it leaves out, or null.
The `run` is Flower's id of it, as text; empty for a simulation.

    start     run, done, rounds, dropped                      a training begins, after `done` rounds
    round     rounds, seconds, validation, and what `RoundEntry.as_json` says
    waiting   text                                            a round waits for nodes, or asks again
    stage     text                                            calibration begins
    note      text                                            what was guessed, or could not be shown
    failed    kind, error                                     the run has ended with an error
    finished  round                                           the result is written
"""

from __future__ import annotations

import datetime
import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, TypeAlias

from tegu.core.errors import FileError

__all__ = ["JOURNAL", "Event", "append_event", "read_events", "records_of"]

Event: TypeAlias = Mapping[str, Any]

JOURNAL = "journal.jsonl"  # beside the checkpoints


def append_event(folder: Path, event: str, **details: Any) -> None:
    """Append an event to the folder's journal, and flush it to the disk.

    Raises:
        FileError: it cannot be written.
    """
    now = datetime.datetime.now(datetime.UTC).isoformat(timespec="milliseconds")
    line = json.dumps({"event": event, "at": now, **details}).encode() + b"\n"
    path = folder / JOURNAL
    try:
        with path.open("a+b") as file:
            torn = file.tell() > 0 and _last_byte(path) != b"\n"  # the machine stopped while a line was written
            file.write(b"\n" + line if torn else line)
            file.flush()
            os.fsync(file.fileno())
    except OSError as error:
        raise FileError(f"cannot write {path} ({error.strerror or error}): choose a writable folder") from error


def read_events(folder: Path, after: int = 0) -> tuple[list[Event], int]:
    """The whole lines of the folder's journal; damaged ones are left out.

    Args:
        folder: a folder of checkpoints.
        after: position of an earlier call, to read what was added since.

    Returns:
        The events in order, and the position after them.
    """
    try:
        with (folder / JOURNAL).open("rb") as file:
            file.seek(after)
            data = file.read()
    except FileNotFoundError:
        return [], 0
    whole = data[: data.rfind(b"\n") + 1]
    events = [event for event in map(_parse, whole.splitlines()) if event is not None]
    return events, after + len(whole)


def records_of(events: Sequence[Event], fold: int | None, done: int) -> list[Event]:
    """What happened in each round of a training, in order: the last time that each round was run.

    Args:
        events: of the journal.
        fold: the fold that the training leaves out.
        done: number of rounds that count.
    """
    rounds = [event for event in events if event["event"] == "round" and event.get("fold") == fold]
    found = {int(event["round"]): event for event in rounds}
    return [found[number] for number in sorted(found) if number <= done]


def _last_byte(path: Path) -> bytes:
    with path.open("rb") as file:
        file.seek(-1, os.SEEK_END)
        return file.read(1)


def _parse(line: bytes) -> Event | None:
    try:
        event = json.loads(line)
    except ValueError:
        return None
    return event if isinstance(event, dict) and "event" in event else None
