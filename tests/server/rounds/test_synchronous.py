"""Rounds that end: quorum, deadline, over-sampling, repeated rounds and late answers, on a simulated clock."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import pytest
from tests.core.samples import refused
from tests.server.fake import same_bits
from tests.server.rounds.federation import META, NEVER, Federation, slow
from tests.server.training.test_strategy import failing, non_finite, sums

from tegu.core.errors import DataError, FederationError
from tegu.core.sampling.episode import EpisodeRule
from tegu.server.rounds.reliability import from_records
from tegu.server.rounds.reply_plan import ReplyPlan
from tegu.server.training.plan import CohortPlan, TrainingPlan
from tegu.wire import RoundConfig

NODES = {node: sums(node, node) for node in range(1, 9)}


@contextmanager
def shown_by_flower() -> Iterator[list[str]]:
    """The lines that `flwr run --stream` shows. Flower's logger is not one that `caplog` sees."""
    lines: list[str] = []
    handler = logging.Handler(logging.INFO)
    handler.emit = lambda record: lines.append(record.getMessage())  # type: ignore[method-assign]
    logger, level = logging.getLogger("flwr"), logging.getLogger("flwr").level
    logger.addHandler(handler)
    logger.setLevel(logging.INFO)
    try:
        yield lines
    finally:
        logger.removeHandler(handler)
        logger.setLevel(level)


def mean_of(nodes: list[int], number: int, meta: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """The mean over users of the updates of these nodes, by hand."""
    replies = [NODES[node](meta, RoundConfig(number, 0, 1.0, EpisodeRule())) for node in nodes]
    users = sum(reply.users for reply in replies)
    return {name: sum(reply.update[name].astype(np.float64) for reply in replies) / users for name in meta}


def test_a_round_closes_as_soon_as_enough_have_answered() -> None:
    """Five are asked for four, the slow one is late, and the others' mean counts."""
    plan = ReplyPlan(oversampling=1.25)
    ran = Federation({node: NODES[node] for node in range(1, 6)}, plan, 4, slow([2], 50.0)).run(1)
    assert ran.grid.asked_in(1) == [1, 2, 3, 4, 5]
    assert ran.rounds[0]["nodes"] == ["1", "3", "4", "5"]
    assert (ran.rounds[0]["late"], ran.rounds[0]["users"]) == (["2"], 13)
    assert ran.ended[0] < 2
    mean = mean_of([1, 3, 4, 5], 1, META)
    for name, value in ran.outer.meta.items():
        np.testing.assert_allclose(value, META[name] - 0.5 * mean[name], atol=1e-6)


def test_the_deadline_closes_a_round_that_has_its_quorum() -> None:
    plan = ReplyPlan(quorum=2, deadline=30.0, oversampling=1.0)
    ran = Federation({node: NODES[node] for node in range(1, 4)}, plan, 3, slow([3], NEVER)).run(3)
    assert [each["nodes"] for each in ran.rounds] == [["1", "2"]] * 3
    assert [each["late"] for each in ran.rounds] == [["3"], [], []], "it is not asked again before it has answered"
    assert ran.ended[0] == pytest.approx(30, abs=1)
    assert ran.ended[2] - ran.ended[0] < 5, "nobody waits for it any more"


def test_a_late_answer_is_dropped_and_counted() -> None:
    plan = ReplyPlan(quorum=2, deadline=5.0, oversampling=1.0)
    federation = Federation({node: NODES[node] for node in range(1, 4)}, plan, 3, slow([3], 7.0))
    ran = federation.run(3)
    assert [each["late"] for each in ran.rounds] == [["3"], [], []]
    assert [each["came_late"] for each in ran.rounds] == [0, 0, 1]
    without = Federation({node: NODES[node] for node in (1, 2)}, ReplyPlan(), 2).run(3)
    assert same_bits(ran.outer.meta, without.outer.meta), "it never counts"


def test_too_few_answers_are_completed_by_other_nodes() -> None:
    """Nodes that fail are replaced, what was answered stays, and the parameters are those of all that have answered."""
    nodes = {**NODES, **dict.fromkeys((1, 2, 3, 4), failing)}
    plan = ReplyPlan(quorum=4, oversampling=1.0, attempts=5)
    ran = Federation(nodes, plan, 4, seed=1).run(1)
    first = ran.grid.asked_in(1)[:4]
    assert set(first) & {1, 2, 3, 4}, "the seed is to draw some that fail"
    assert ran.rounds[0]["nodes"] == ["5", "6", "7", "8"]
    assert {each["node"] for each in ran.rounds[0]["failed"]} == set(map(str, set(ran.grid.asked_in(1)) & {1, 2, 3, 4}))
    assert len(ran.grid.asked_in(1)) == len(set(ran.grid.asked_in(1))), "nobody is asked twice"
    assert any("attempt 2 of 5 asks" in text for text in ran.said)
    mean = mean_of([5, 6, 7, 8], 1, META)
    for name, value in ran.outer.meta.items():
        np.testing.assert_allclose(value, META[name] - 0.5 * mean[name], atol=1e-6)


def test_refused_replies_do_not_make_a_quorum() -> None:
    nodes = {**NODES, **dict.fromkeys((1, 2, 3, 4), non_finite(float("nan")))}
    ran = Federation(nodes, ReplyPlan(quorum=4, oversampling=1.0, attempts=5), 4, seed=1).run(1)
    assert ran.rounds[0]["nodes"] == ["5", "6", "7", "8"]
    assert {each["code"] for each in ran.rounds[0]["refused"]} == {"not-finite"}
    assert ran.rounds[0]["failed"] == []


def test_a_late_node_may_answer_in_the_second_attempt() -> None:
    """There is nobody else to ask. It is asked again, since its message may be lost, and its first answer counts."""
    plan = ReplyPlan(quorum=3, deadline=10.0, attempts=2)
    ran = Federation({node: NODES[node] for node in range(1, 4)}, plan, 3, slow([3], 15.0)).run(1)
    assert (ran.rounds[0]["nodes"], ran.rounds[0]["late"]) == (["1", "2", "3"], [])
    assert ran.grid.asked_in(1) == [1, 2, 3, 3]
    assert 14 < ran.ended[0] < 17


def test_without_a_quorum_the_run_stops_after_so_many_attempts() -> None:
    plan = ReplyPlan(quorum=3, deadline=10.0, attempts=3)
    federation = Federation({node: NODES[node] for node in range(1, 4)}, plan, 3, slow([3], NEVER))
    with refused(FederationError, "round 1 has usable replies of 2 nodes after 3 attempts", "quorum is 3", "deadline"):
        federation.run(1)
    (ran,) = federation.made
    assert same_bits(ran.outer.meta, META)
    assert ran.grid.clock.now() == pytest.approx(30, abs=2)


def test_the_quorum_is_waited_for_and_that_is_told() -> None:
    ran = Federation(
        {node: NODES[node] for node in range(1, 4)},
        ReplyPlan(quorum=2),
        3,
        is_connected=lambda node, now: node == 1 or now > 20 * node,
        wait_seconds=200,
    ).run(2)
    assert ran.said == ["waiting: 1 of 3 connected", "waiting: 2 of 3 connected"]
    assert ran.rounds[0]["nodes"] == ["1", "2", "3"], "the third comes before the grace has passed"
    assert ran.ended[0] > 60


def test_a_missing_node_is_waited_for_once() -> None:
    """It goes away in the second round and stays away: its reply is lost, and the next rounds do without it."""
    ran = Federation(
        {node: NODES[node] for node in range(1, 4)},
        ReplyPlan(quorum=2),
        3,
        is_connected=lambda node, now: node != 3 or now < 1.2,
    ).run(6)
    assert [each["nodes"] for each in ran.rounds] == [["1", "2", "3"]] + [["1", "2"]] * 5
    assert [len(each["failed"]) for each in ran.rounds] == [0, 1, 0, 0, 0, 0]
    lengths = np.diff([0.0, *ran.ended])
    assert 60 < lengths[1] < 65
    assert max(*lengths[2:], lengths[0]) < 3


def test_a_node_that_comes_back_in_its_round_is_asked_again() -> None:
    ran = Federation(
        {node: NODES[node] for node in range(1, 4)},
        ReplyPlan(quorum=2),
        3,
        is_connected=lambda node, now: node != 3 or not 0.2 < now < 40,
    ).run(1)
    assert ran.rounds[0]["nodes"] == ["1", "2", "3"]
    assert ran.grid.asked_in(1) == [1, 2, 3, 3]


def test_too_few_connected_nodes_are_an_error_in_the_end() -> None:
    federation = Federation(
        {1: NODES[1], 2: NODES[2]}, ReplyPlan(quorum=3), 3, is_connected=lambda node, now: True, wait_seconds=100
    )
    with refused(FederationError, "2 nodes are connected and a round needs 3 of 3", "connect more"):
        federation.run(1)


def test_nodes_that_fail_often_are_asked_less() -> None:
    """Of 60 rounds, a node that always fails is asked in 1, 3, 7, 15, 31 and then every 32nd."""
    nodes = {**NODES, 8: failing}
    ran = Federation(nodes, ReplyPlan(quorum=2, oversampling=1.0), 8).run(60)
    asked = {node: sum(node in ran.grid.asked_in(number) for number in range(1, 61)) for node in NODES}
    assert asked[8] == 5
    assert all(asked[node] == 60 for node in range(1, 8))
    assert [each["round"] for each in ran.rounds if each["failed"]] == [1, 3, 7, 15, 31]


def test_a_resumed_run_asks_whom_the_whole_run_would_have_asked() -> None:
    nodes = {**NODES, 8: failing, 7: non_finite(float("inf"))}
    federation = Federation(nodes, ReplyPlan(quorum=2), 4)
    whole = federation.run(9)
    first = federation.run(5)
    with shown_by_flower() as lines:
        resumed = federation.run(4, outer=first.outer, done=5, reliability=from_records(first.rounds))
    assert [line for line in lines if "ROUND" in line] == [f"[ROUND {number}/9]" for number in range(6, 10)]
    assert [whole.grid.asked_in(number) for number in range(6, 10)] == [
        resumed.grid.asked_in(number) for number in range(6, 10)
    ]
    assert same_bits(whole.outer.meta, resumed.outer.meta)


@pytest.mark.parametrize(
    ("changes", "parts"),
    [
        ({"quorum": 0}, ("quorum is 0", "at least 1")),
        ({"quorum": 4}, ("quorum is 4 and cohort is 3",)),
        ({"deadline": 0.0}, ("deadline is 0", "above 0")),
        ({"oversampling": 0.9}, ("oversampling is 0.9", "at least 1")),
        ({"oversampling": NEVER}, ("oversampling is infinite",)),
        ({"attempts": 0}, ("attempts is 0", "at least 1")),
        ({"buffer": 4}, ("buffer is 4 and cohort is 3",)),
        ({"buffer": 2, "quorum": 3}, ("quorum is 3 and buffer is 2",)),
        ({"most_stale": -1}, ("most_stale is -1",)),
    ],
)
def test_settings_out_of_range_are_refused(changes: dict[str, float], parts: tuple[str, ...]) -> None:
    with refused(DataError, *parts):
        TrainingPlan(cohort=CohortPlan(3), replies=ReplyPlan(**changes))  # type: ignore[arg-type]


def test_the_automatic_quorum_is_two_thirds() -> None:
    assert [ReplyPlan().quorum_of(wanted) for wanted in (1, 2, 3, 4, 10)] == [1, 2, 2, 3, 7]
