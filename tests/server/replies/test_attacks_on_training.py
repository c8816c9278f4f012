"""Attacks on training rounds, played as messages through the strategy: no single node decides the parameters."""

from __future__ import annotations

import logging
import math
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest
from flwr.app import ArrayRecord, Message, RecordDict
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.server.fake import FunctionGrid, Node, random_tree, run_rounds, same_bits

from tegu.core.data.tree import Tree, norm, scale, subtract
from tegu.core.errors import FederationError
from tegu.server.replies.adaptive_clip import QUANTILE, RATE
from tegu.server.replies.refusal import Code, RefusedReplyError
from tegu.server.replies.training import Asked, checked_reply
from tegu.server.training.checkpoint import latest_checkpoint, read_checkpoint
from tegu.server.training.outer_optimiser import DivergedError, OuterOptimiser, OuterRule
from tegu.server.training.plan import CohortPlan, TrainingPlan, UpdatePlan
from tegu.server.training.strategy import MetaStrategy
from tegu.sim.federation.grid import flower_identity
from tegu.wire import Reply, RoundConfig, to_record, training_reply_content

META = random_tree(0)
HONEST, ATTACKER = 9, 99


def honest(seed: int, users: int = 1) -> Node:
    """A node whose users want the parameters moved by about 1 in one direction, clipped as asked."""

    def node(meta: Tree, config: RoundConfig) -> Reply:
        drawn = random_tree(100 * seed + config.round)
        wanted = {name: np.asarray(1 + 0.1 * drawn[name], np.float32) for name in drawn}
        length = norm(wanted)
        clipped = scale(wanted, min(1.0, config.clip / length))
        return Reply(scale(clipped, users), users, users if length <= config.clip else 0)

    return node


def replying(update: Mapping[str, np.ndarray] | float, users: int, within: int | None = None) -> Node:
    """A node that always replies this."""
    found = {name: np.full_like(array, update) for name, array in META.items()} if isinstance(update, float) else update
    return lambda meta, config: Reply(found, users, within)


def run(
    attackers: Mapping[int, Node],
    rounds: int = 1,
    *,
    clip: float | str = "adaptive",
    users_per_node: int = 1,
    rule: OuterRule | None = None,
    folder: Path | None = None,
) -> tuple[OuterOptimiser, MetaStrategy, FunctionGrid]:
    """Nine honest nodes and the attackers."""
    nodes = {**{number: honest(number) for number in range(1, HONEST + 1)}, **attackers}
    cohort = CohortPlan(len(nodes), users_per_node=users_per_node)
    plan = TrainingPlan(rounds=rounds, cohort=cohort, updates=UpdatePlan(clip=clip))  # type: ignore[arg-type]
    outer, grid = OuterOptimiser(META, rule or OuterRule("SGD", 0.1), rounds), FunctionGrid(nodes)
    strategy = MetaStrategy(outer, plan, checkpoints=folder)
    run_rounds(strategy, grid, META, rounds)
    return outer, strategy, grid


def moved(outer: OuterOptimiser) -> float:
    return norm(subtract(outer.meta, META))


CLEAN = moved(run({})[0])


def refusals(strategy: MetaStrategy) -> list[tuple[int, Code]]:
    return [(each.node, each.code) for entry in strategy.round_log.rounds for each in entry.refused]


@pytest.mark.parametrize(
    ("attack", "code"),
    [
        (replying(0.0, 10**9), "users"),
        (replying(0.0, 2), "users"),
        (replying(1.0, -1), "users"),
        (replying(1.0, 1, within=2), "users"),
        (replying(math.nan, 1), "not-finite"),
        (replying(math.inf, 1), "not-finite"),
        (replying({"weight": META["weight"]}, 1), "layout"),
        (replying({**META, "bias": META["bias"].astype(np.float64)}, 1), "layout"),
        (replying({**META, "bias": META["bias"][None]}, 1), "layout"),
        (replying({**META, "extra": META["bias"]}, 1), "layout"),
        (replying({}, 1), "layout"),
    ],
)
def test_a_refused_reply_changes_nothing(attack: Node, code: Code, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING, "tegu.server.training.strategy"):
        outer, strategy, _ = run({ATTACKER: attack})
    assert same_bits(outer.meta, run({})[0].meta)
    assert refusals(strategy) == [(ATTACKER, code)]
    assert strategy.round_log.by_code() == {code: 1}
    assert f"round 1: a reply is left out: node {ATTACKER}: " in caplog.text
    assert strategy.round_log.rounds[0].nodes == tuple(range(1, HONEST + 1))


def test_users_that_nobody_can_check_count_twice_as_much_at_most() -> None:
    """The node was asked for all of its users. Zeros of 10**9 users would freeze the model."""
    outer, strategy, _ = run({ATTACKER: replying(0.0, 10**9)}, users_per_node=0, clip=math.inf)
    assert refusals(strategy) == []
    assert moved(outer) == pytest.approx(CLEAN * 9 / 11, rel=0.1)


@pytest.mark.parametrize("size", [1e6, 3e38, 1e30])
@pytest.mark.parametrize("clip", ["adaptive", 4.0])
@pytest.mark.parametrize("rule", [OuterRule("SGD", 0.1), OuterRule("Adam", 0.1)])
def test_a_long_update_moves_the_parameters_no_further_than_an_honest_one(
    size: float, clip: float | str, rule: OuterRule
) -> None:
    """Two attackers, whose sum overflows at 3e38. With Adam such a step would freeze the parameters for good."""
    attackers = {ATTACKER + place: replying(-size, 1, within=0) for place in range(2)}
    outer, strategy, _ = run(attackers, 20, clip=clip, rule=rule)
    without, _, _ = run({}, 20, clip=clip, rule=rule)
    assert moved(outer) <= 1.1 * moved(without)
    assert moved(outer) > 0.5 * moved(without), "the honest nodes still move the parameters"
    assert strategy.round_log.by_code()["too-long"] >= 2 * 19


def test_the_servers_clip_is_that_of_the_paper() -> None:
    """Recomputed by hand: the median norm first, then a factor for the share that is within."""
    _, strategy, grid = run({}, 12)
    asked = [config.clip for config in grid.configs]
    lengths = [
        [norm(honest(number)(META, RoundConfig(round_, 0, math.inf, None)).update) for number in range(1, HONEST + 1)]  # type: ignore[arg-type]
        for round_ in range(1, 13)
    ]
    expected = [math.inf, float(np.median(lengths[0]))]
    for found in lengths[1:-1]:
        within = np.mean([length <= expected[-1] for length in found])
        expected.append(expected[-1] * math.exp(-RATE * (within - QUANTILE)))
    assert asked == pytest.approx(expected)
    assert strategy.round_log.rounds[0].clip == pytest.approx(expected[1]), "the first round has a finite clip as well"


def test_false_counts_cannot_make_the_clip_run_away() -> None:
    """A fifth of the nodes say that nobody is within the clip, which would raise it without end."""
    attackers = {ATTACKER + place: replying(0.1, 1, within=0) for place in range(2)}
    _, _, grid = run(attackers, 120)
    _, _, clean = run({}, 120)
    assert grid.configs[-1].clip < 1.1 * clean.configs[-1].clip


def test_a_resumed_run_continues_its_clip(tmp_path: Path) -> None:
    _, _, grid = run({}, 5, folder=tmp_path)
    written = [read_checkpoint(path).clip for path in sorted(tmp_path.glob("*.safetensors"))]
    assert written[:-1] == [config.clip for config in grid.configs[-2:]]
    last = latest_checkpoint(tmp_path)
    assert last is not None
    plan = TrainingPlan(rounds=6, cohort=CohortPlan(HONEST), updates=UpdatePlan(clip="adaptive"))
    resumed = FunctionGrid(grid.nodes)
    outer = OuterOptimiser(last.meta, OuterRule(), 6)
    run_rounds(MetaStrategy(outer, plan, done=5, clip=last.clip), resumed, last.meta, 1)
    assert resumed.configs[0].clip == last.clip


def test_a_sum_that_overflows_drops_the_round() -> None:
    """Each reply is finite, and nothing is clipped because the plan says so."""
    attackers = {ATTACKER + place: replying(3e38, 1) for place in range(2)}
    outer, strategy, _ = run(attackers, 2, clip=math.inf)
    assert same_bits(outer.meta, META)
    assert [(entry.round, entry.users) for entry in strategy.round_log.rounds] == [(1, 0), (2, 0)]
    assert "is not finite" in strategy.round_log.rounds[0].dropped


def test_a_run_whose_rounds_are_all_dropped_has_diverged() -> None:
    attackers = {ATTACKER + place: replying(3e38, 1) for place in range(2)}
    with pytest.raises(FederationError, match="3 rounds in succession were dropped"):
        run(attackers, 5, clip=math.inf)


@pytest.mark.parametrize("name", ["Adam", "AdamW", "Yogi", "Adagrad", "RMSprop", "MADGRAD", "AggMo", "Lamb", "SGD"])
@pytest.mark.parametrize("length", [1e30, 3e38])
def test_a_step_is_taken_whole_or_not_at_all(name: str, length: float) -> None:
    """Whatever the optimiser keeps is finite afterwards, and the next steps are those of a run without the attack."""
    options = {"momentum": 0.9} if name == "SGD" else {}
    attacked, clean = (OuterOptimiser(META, OuterRule(name, 1.0, options), 9) for _ in range(2))
    for number in range(1, 3):
        attacked.step(random_tree(number), number)
        clean.step(random_tree(number), number)
    direction = {entry: np.full_like(array, length) for entry, array in META.items()}
    try:
        attacked.step(direction, 3)
    except DivergedError:
        for number in range(3, 6):
            assert same_bits(attacked.step(random_tree(number), number), clean.step(random_tree(number), number)), (
                "as if there had been no attack"
            )
    assert all(np.isfinite(array).all() for array in attacked.meta.values())
    assert all(np.isfinite(array).all() for array in attacked.state().arrays.values())


def test_a_second_reply_and_a_reply_of_a_stranger_or_another_round_do_not_count() -> None:
    """As in a replay of messages. The replies' own round and node are Flower's, and no node can set another's."""

    class Replaying(FunctionGrid):
        def send_and_receive(self, messages: list[Message], *, timeout: float | None = None) -> list[Message]:  # type: ignore[override]
            replies = super().send_and_receive(messages, timeout=timeout)
            if not replies:
                return []
            content = training_reply_content(Reply(scale(META, 5.0), 1, 1))
            to = [
                Message(content, dst_node_id=node, message_type="train", group_id=group)
                for node, group in ((1, "1"), (77, "1"), (2, "0"))
            ]
            return [*replies, *(Message(content, reply_to=message) for message in to)]

    plan = TrainingPlan(rounds=1, cohort=CohortPlan(HONEST), updates=UpdatePlan(clip=100.0))
    outer, grid = (
        OuterOptimiser(META, OuterRule("SGD", 0.1), 1),
        Replaying({n: honest(n) for n in range(1, HONEST + 1)}),
    )
    strategy = MetaStrategy(outer, plan)
    run_rounds(strategy, grid, META, 1)
    clean, _, _ = run({}, clip=100.0)
    assert same_bits(outer.meta, clean.meta)
    assert sorted(refusals(strategy)) == [(1, "duplicate"), (2, "not-asked"), (77, "not-asked")]


@settings(max_examples=300, deadline=None)
@given(st.data())
def test_whatever_a_reply_holds_is_checked_or_refused(data: st.DataObject) -> None:
    """Bytes, names, shapes and counts are altered at random: no other exception, and nothing that is not finite."""
    content = training_reply_content(Reply(random_tree(1), 1, 1))
    update = content.array_records["update"]
    name = data.draw(st.sampled_from(sorted(update)))
    array = update[name]
    raw = bytearray(array.data)
    for _ in range(data.draw(st.integers(0, 4))):
        raw[data.draw(st.integers(0, len(raw) - 1))] = data.draw(st.integers(0, 255))
    array.data = bytes(raw[: data.draw(st.integers(len(raw) - 3, len(raw)))])
    content.metric_records["metrics"]["users"] = data.draw(
        st.one_of(st.integers(-(2**63), 2**63 - 1), st.floats(), st.just([1, 2]))
    )
    if data.draw(st.booleans()):
        content["other"] = ArrayRecord()
    with flower_identity():
        asked = Message(RecordDict({"meta": to_record(META)}), dst_node_id=1, message_type="train", group_id="1")
        message = Message(content, reply_to=asked)
    try:
        reply = checked_reply(message, META, Asked(clip=10.0, users=3))
    except RefusedReplyError:
        return
    assert all(np.isfinite(array).all() for array in reply.update.values())
    assert reply.users <= 3
    assert norm(reply.update) <= 2 * 10 * max(reply.users, 1)
