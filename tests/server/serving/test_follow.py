"""What an operator reads."""

from __future__ import annotations

from typing import Any

from tegu.server.rounds.waiting import waiting_text
from tegu.server.serving.follow import describe, summary_of

ROUND: dict[str, Any] = {
    "event": "round", "at": "2026-01-01T00:00:00+00:00", "fold": 0, "round": 2, "rounds": 3, "users": 56,
    "nodes": ["1", "2"], "refused": [{"node": "3", "reason": "too long"}], "late": ["4"], "failed": [],
    "in_flight": 0, "seconds": 4.25,
    "validation": {"initialisation": 0.5, "personalised": 0.25},
}  # fmt: skip


def test_a_round_is_a_line_and_a_refusal_another() -> None:
    assert describe(ROUND, "mse").splitlines() == [
        "round 2 of 3: 56 people of 2 nodes, mse 0.5 -> 0.25, 1 refused, 1 late, 4.2 s",
        "  refused: node 3: too long",
    ]
    quiet = {**ROUND, "validation": None, "refused": [], "late": [], "nodes": ["1"], "fold": 2}
    assert describe(quiet, "mse") == "without fold 2: round 2 of 3: 56 people of 1 node, 0 refused, 0 late, 4.2 s"


def test_a_start_tells_whether_it_is_one() -> None:
    start = {"event": "start", "fold": 0, "done": 0, "rounds": 3, "dropped": 0}
    assert describe(start, "mse") == "started, at round 0 of 3"
    assert describe({**start, "done": 2}, "mse") == "resumed after round 2 of 3"
    assert describe({**start, "done": 2, "dropped": 5}, "mse") == (
        "resumed after round 2 of 3, without 5 answers that were in flight"
    )


def test_what_failed_and_who_is_at_work_is_shown() -> None:
    failed = {**ROUND, "failed": [{"node": "5", "reason": "no rows"}], "refused": [], "in_flight": 7}
    assert describe(failed, "mse").splitlines() == [
        "round 2 of 3: 56 people of 2 nodes, mse 0.5 -> 0.25, 1 failed, 0 refused, 1 late, 7 at work, 4.2 s",
        "  failed: node 5: no rows",
    ]
    assert describe({"event": "waiting", "text": "waiting: 2 of 3 connected"}, "mse") == "waiting: 2 of 3 connected"


def test_a_note_is_told_and_is_no_state() -> None:
    note = {"event": "note", "at": "u", "text": "too few people calibrate"}
    assert describe(note, "mse") == "note: too few people calibrate"
    found = summary_of([{"event": "start", "at": "t", "done": 0}, note])
    assert (found["state"], found["since"]) == ("start", "t")


def test_waiting() -> None:
    assert waiting_text(2, 3) == "waiting: 2 of 3 connected"


def test_the_summary_is_of_the_whole_run() -> None:
    assert summary_of([])["state"] == "not started"
    found = summary_of([{"event": "start", "at": "t", "done": 0}, ROUND, {**ROUND, "round": 3}])
    assert (found["state"], found["round"], found["rounds"], found["refused"], found["late"]) == ("round", 3, 3, 2, 2)
