"""The journal of a run: whole lines only, and no round counted twice."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.core.samples import refused

from tegu.core.errors import FileError
from tegu.server.training.journal import JOURNAL, append_event, read_events, records_of


def test_events_come_back_in_order(tmp_path: Path) -> None:
    append_event(tmp_path, "start", done=0)
    append_event(tmp_path, "round", round=1, users=5)
    events, _ = read_events(tmp_path)
    assert [event["event"] for event in events] == ["start", "round"]
    assert events[1]["users"] == 5
    assert events[0]["at"] <= events[1]["at"]


def test_reading_goes_on_where_it_ended(tmp_path: Path) -> None:
    append_event(tmp_path, "start")
    _, position = read_events(tmp_path)
    assert read_events(tmp_path, position) == ([], position)
    append_event(tmp_path, "finished")
    events, _ = read_events(tmp_path, position)
    assert [event["event"] for event in events] == ["finished"]


def test_a_round_that_was_run_twice_counts_once(tmp_path: Path) -> None:
    for number, users in ((1, 4), (2, 5), (2, 6), (3, 7)):
        append_event(tmp_path, "round", fold=0, round=number, users=users)
    append_event(tmp_path, "round", fold=None, round=1, users=9)
    events, _ = read_events(tmp_path)
    assert [(each["round"], each["users"]) for each in records_of(events, 0, 2)] == [(1, 4), (2, 6)]
    assert [each["users"] for each in records_of(events, None, 2)] == [9]


@pytest.mark.parametrize("cut", range(2, 30, 7))
def test_a_torn_line_is_left_out_and_the_next_is_whole(tmp_path: Path, cut: int) -> None:
    """The machine stopped while a line was written."""
    append_event(tmp_path, "start")
    append_event(tmp_path, "round", round=1)
    path = tmp_path / JOURNAL
    path.write_bytes(path.read_bytes()[:-cut])
    assert [event["event"] for event in read_events(tmp_path)[0]] == ["start"]
    append_event(tmp_path, "finished")
    assert [event["event"] for event in read_events(tmp_path)[0]] == ["start", "finished"]


def test_no_folder_is_no_event_and_no_journal(tmp_path: Path) -> None:
    assert read_events(tmp_path / "absent") == ([], 0)
    with refused(FileError, "absent", "choose a writable folder"):
        append_event(tmp_path / "absent", "start")
