"""A run's journal in words: one line for each event."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from tegu.server.training.journal import Event

__all__ = ["describe", "summary_of"]


def describe(event: Event, metric: str) -> str:
    """What an event of the journal says, in one line, and one more for each failed or refused reply.

    Args:
        event: of `tegu.server.training.journal`.
        metric: name of the run's metric.
    """
    return _WORDS[event["event"]](event, metric)


def _start(event: Event, _: str) -> str:
    done, rounds = event["done"], event["rounds"]
    dropped = f", without {_count(event['dropped'], 'answer')} that were in flight" if event["dropped"] else ""
    return f"{_without(event)}{'resumed after' if done else 'started, at'} round {done} of {rounds}{dropped}"


def _round(event: Event, metric: str) -> str:
    parts = [f"{event['users']} people of {_count(len(event['nodes']), 'node')}"]
    validation = event.get("validation")
    if validation:
        parts.append(f"{metric} {_figure(validation['initialisation'])} -> {_figure(validation['personalised'])}")
    parts += [] if event.get("epsilon") is None else [f"epsilon {event['epsilon']:.3g}"]
    parts += [f"{len(event['failed'])} failed"] if event["failed"] else []
    parts += [f"{len(event['refused'])} refused", f"{len(event['late'])} late"]
    parts += [f"{event['in_flight']} at work"] if event["in_flight"] else []
    parts += [f"{event['seconds']:.1f} s"]
    lines = [f"{_without(event)}round {event['round']} of {event['rounds']}: {', '.join(parts)}"]
    for kind in ("failed", "refused"):
        lines += [f"  {kind}: node {each['node']}: {each['reason']}" for each in event[kind]]
    return "\n".join(lines)


def _without(event: Event) -> str:
    """The training that the event is of, where a run has several."""
    fold = event.get("fold")
    return f"without fold {fold}: " if fold else ""


def _count(number: int, word: str) -> str:
    return f"{number} {word}" if number == 1 else f"{number} {word}s"


def _figure(value: float | None) -> str:
    return "?" if value is None else f"{value:.4g}"


_WORDS: Mapping[str, Callable[[Event, str], str]] = {
    "start": _start,
    "round": _round,
    "stage": lambda event, _: f"{event['text']} begins",
    "note": lambda event, _: f"note: {event['text']}",
    "waiting": lambda event, _: event["text"],
    "failed": lambda event, _: f"the run has stopped: {event['error']}",
    "finished": lambda event, _: f"finished at round {event['round']}",
}


def summary_of(events: list[Event]) -> dict[str, Any]:
    """Where a run is, by its events: the last one, the round, and how many replies failed, were refused or late."""
    rounds = [event for event in events if event["event"] == "round"]
    states = [event for event in events if event["event"] != "note"]
    last = rounds[-1] if rounds else None
    return {
        "state": states[-1]["event"] if states else "not started",
        "since": states[-1]["at"] if states else None,
        "round": last["round"] if last else 0,
        "rounds": last["rounds"] if last else None,
        "epsilon": last.get("epsilon") if last else None,
        **{kind: sum(len(event[kind]) for event in rounds) for kind in ("failed", "refused", "late")},
    }
