"""Nodes that have failed are asked less: how often each has failed in succession, and how long it sits out.

A node that is asked and whose answer does not count has failed: it was late, reported an error, or was refused. After f
failures in succession it sits out the next 2^f - 1 rounds, and at most 31 (truncated binary exponential back-off, as in
Ethernet). An answer that counts ends that. All of it follows from the records of the rounds, so that a resumed run
knows it too.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from typing import Any, NamedTuple, TypeAlias

__all__ = ["MOST_ROUNDS_OUT", "Failures", "Reliability", "after_round", "from_records", "sits_out"]

MOST_ROUNDS_OUT = 31


class Failures(NamedTuple):
    """A node's failures since it last answered.

    Attributes:
        times: how often, at least 1.
        last: round of the latest.
    """

    times: int
    last: int


Reliability: TypeAlias = Mapping[int, Failures]
"""The failures of the nodes that have any, by node."""


def after_round(
    before: Reliability, number: int, answered: Collection[int], failed: Collection[int]
) -> dict[int, Failures]:
    """The failures after a round.

    Args:
        before: those before it.
        number: of the round, from 1.
        answered: nodes whose answers counted.
        failed: nodes that were asked and whose answers did not count.
    """
    counts = {node: before[node].times + 1 if node in before else 1 for node in failed}
    kept = {node: failures for node, failures in before.items() if node not in answered and node not in failed}
    return kept | {node: Failures(count, number) for node, count in counts.items()}


def sits_out(before: Reliability, node: int, number: int) -> bool:
    """Whether a node is not asked in a round for what it has failed before.

    Args:
        before: the failures before the round.
        node: its id.
        number: of the round, from 1.
    """
    if node not in before:
        return False
    times, last = before[node]
    return number - last <= min((1 << times) - 1, MOST_ROUNDS_OUT)


def from_records(records: Iterable[Mapping[str, Any]]) -> dict[int, Failures]:
    """The failures after the recorded rounds.

    Args:
        records: of the rounds in order, as in `rounds.json`.
    """
    found: dict[int, Failures] = {}
    for record in records:
        failed = [each["node"] for kind in ("failed", "refused") for each in record[kind]] + list(record["late"])
        answered = {int(node) for node in record["nodes"]}
        found = after_round(found, record["round"], answered, {int(node) for node in failed} - answered)
    return found
