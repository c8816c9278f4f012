"""What an operator reads."""

from __future__ import annotations

from typing import Any

from tegu.server.serving.follow import describe, summary_of, waiting_text

ROUND: dict[str, Any] = {
    "event": "round", "at": "2026-01-01T00:00:00+00:00", "fold": 0, "round": 2, "rounds": 3, "users": 56,
    "nodes": ["1", "2"], "refused": [{"node": "3", "reason": "too long"}], "late": 1, "seconds": 4.25,
    "validation": {"initialisation": 0.5, "personalised": 0.25},
}  # fmt: skip


def test_a_round_is_a_line_and_a_refusal_another() -> None:
    assert describe(ROUND, "mse").splitlines() == [
        "round 2 of 3: 56 people of 2 nodes, mse 0.5 -> 0.25, 1 refused, 1 late, 4.2 s",
        "  refused: node 3: too long",
    ]
    quiet = {**ROUND, "validation": None, "refused": [], "late": 0, "nodes": ["1"], "fold": 2}
    assert describe(quiet, "mse") == "without fold 2: round 2 of 3: 56 people of 1 node, 0 refused, 0 late, 4.2 s"


def test_a_start_tells_whether_it_is_one() -> None:
    assert describe({"event": "start", "fold": 0, "done": 0, "rounds": 3}, "mse") == "started, at round 0 of 3"
    assert describe({"event": "start", "fold": 0, "done": 2, "rounds": 3}, "mse") == "resumed after round 2 of 3"


def test_waiting() -> None:
    assert waiting_text(2, 3) == "waiting: 2 of 3 connected"


def test_the_summary_is_of_the_whole_run() -> None:
    assert summary_of([])["state"] == "not started"
    found = summary_of([{"event": "start", "at": "t", "done": 0}, ROUND, {**ROUND, "round": 3}])
    assert (found["state"], found["round"], found["rounds"], found["refused"], found["late"]) == ("round", 3, 3, 2, 2)
