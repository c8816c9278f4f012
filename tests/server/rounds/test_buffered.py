"""Asynchronous rounds, against FedBuff written from the paper, on a simulated clock."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
from tests.core.samples import refused
from tests.server.fake import same_bits
from tests.server.rounds.federation import META, NEVER, Federation, Ran, slow
from tests.server.training.test_strategy import failing, sums

from tegu.core.data.tree import Tree, norm, subtract
from tegu.core.errors import DataError, FederationError
from tegu.core.sampling.episode import EpisodeRule
from tegu.server.rounds.reply_plan import ReplyPlan
from tegu.server.rounds.staleness import discounted, weight
from tegu.server.training.checkpoint import latest_checkpoint
from tegu.server.training.outer_optimiser import OuterOptimiser, OuterRule
from tegu.server.training.plan import CohortPlan, TrainingPlan
from tegu.server.training.strategy import MetaStrategy
from tegu.wire import Reply, RoundConfig

NODES = {node: sums(node) for node in range(1, 11)}


def pace(node: int, now: float) -> float:
    """Two of ten nodes take ten times as long."""
    return (10.0 if node in (2, 9) else 1.0) * (1 + node / 8)


def fedbuff(ran: Ran, buffer: int, lr: float) -> Tree:
    """The parameters after the run, by the paper's algorithm 1, from what each node was sent and when it answered.

    Everything but the order of the answers is computed anew: updates, staleness, weights and steps.
    """
    versions = {1: META}
    meta = {name: value.astype(np.float64) for name, value in META.items()}
    for number, record in enumerate(ran.rounds, 1):
        total = {name: np.zeros_like(value) for name, value in meta.items()}
        for node in map(int, record["nodes"]):
            sent = max(
                group for group, other, _ in ran.grid.sent if other == node and answered_by(ran, group, node, number)
            )
            update = NODES[node](versions[sent], RoundConfig(sent, 0, 1.0, EpisodeRule())).update
            total = {name: total[name] + each / math.sqrt(1 + number - sent) for name, each in update.items()}
        meta = {name: meta[name] - lr * total[name] / buffer for name in meta}
        versions[number + 1] = {name: np.asarray(value, np.float32) for name, value in meta.items()}
    return meta


def answered_by(ran: Ran, group: int, node: int, number: int) -> bool:
    """Whether the message of this step had been answered by the end of another step: nodes take a known time."""
    (at,) = [at for other, name, at in ran.grid.sent if (other, name) == (group, node)]
    return group <= number and at + pace(node, at) <= ran.ended[number - 1]


def test_it_is_fedbuff() -> None:
    ran = Federation(NODES, ReplyPlan(buffer=3), 6, pace).run(30)
    assert all(len(record["nodes"]) == 3 for record in ran.rounds)
    staleness = [steps for record in ran.rounds for steps in record["stale"].values()]
    assert max(staleness) > 3, "slow nodes must enter later steps"
    for name, value in fedbuff(ran, 3, 0.5).items():
        np.testing.assert_allclose(ran.outer.meta[name], value, rtol=1e-4, atol=1e-5)


def test_a_slow_node_delays_nobody() -> None:
    ran = Federation(NODES, ReplyPlan(buffer=3), 6, pace).run(30)
    rounds = Federation(NODES, ReplyPlan(oversampling=1.0), 6, pace, seed=3).run(10)
    assert ran.ended[-1] < 40
    assert rounds.ended[-1] > 2 * ran.ended[-1]
    assert {"2", "9"} <= {node for record in ran.rounds for node in record["nodes"]}, "they count nevertheless"


def test_the_same_run_again_gives_the_same_bits() -> None:
    first, again = (Federation(NODES, ReplyPlan(buffer=3), 6, pace).run(20) for _ in range(2))
    assert same_bits(first.outer.meta, again.outer.meta)
    assert first.rounds == again.rounds
    assert first.grid.sent == again.grid.sent
    other = Federation(NODES, ReplyPlan(buffer=3), 6, pace, seed=4).run(20)
    assert not same_bits(first.outer.meta, other.outer.meta)


def test_as_many_nodes_are_at_work_as_a_cohort_has() -> None:
    ran = Federation(NODES, ReplyPlan(buffer=3), 6, pace).run(10)
    assert all(record["in_flight"] <= 6 for record in ran.rounds)
    assert ran.rounds[0]["in_flight"] >= 3
    for number in range(1, 11):
        assert len(ran.grid.asked_in(number)) == len(set(ran.grid.asked_in(number))), "once in a step"


def test_too_old_answers_are_dropped_and_counted() -> None:
    """The slow nodes answer after about twenty steps."""
    ran = Federation(NODES, ReplyPlan(buffer=2, most_stale=4), 6, slow([2, 9], 12.0)).run(40)
    assert not {"2", "9"} & {node for record in ran.rounds for node in record["nodes"]}
    assert max(steps for record in ran.rounds for steps in record["stale"].values()) <= 4
    late = [node for record in ran.rounds for node in record["late"]]
    assert set(late) == {"2", "9"}
    assert 0 < sum(record["came_late"] for record in ran.rounds) <= len(late)


def test_a_node_that_never_answers_gives_its_place_to_others() -> None:
    ran = Federation(NODES, ReplyPlan(buffer=3, most_stale=3), 4, slow([1, 2, 3], NEVER)).run(20)
    assert ran.ended[-1] < 40
    assert all(len(record["nodes"]) == 3 for record in ran.rounds)


def test_failing_nodes_are_recorded_and_asked_less() -> None:
    nodes = {**NODES, 4: failing}
    ran = Federation(nodes, ReplyPlan(buffer=3), 6).run(40)
    failed = [record["round"] for record in ran.rounds if record["failed"]]
    assert 2 <= len(failed) <= 5
    assert sum(node == 4 for _, node, _ in ran.grid.sent) == len(failed)


def test_a_step_without_enough_answers_ends_too() -> None:
    """Two of three that a step wants answer: its deadline closes it with its quorum, and never with less."""
    nodes = {node: NODES[node] for node in range(1, 4)}
    plan = ReplyPlan(buffer=3, quorum=2, deadline=20.0)
    ran = Federation(nodes, plan, 3, slow([3], NEVER)).run(1)
    assert ran.rounds[0]["nodes"] == ["1", "2"]
    assert ran.ended[0] == pytest.approx(20, abs=1)
    alone = Federation(nodes, ReplyPlan(buffer=3, deadline=20.0, attempts=2), 3, slow([2, 3], NEVER))
    with refused(FederationError, "round 1 has usable replies of 1 nodes after 2 attempts", "quorum is 2"):
        alone.run(1)
    assert same_bits(alone.made[0].outer.meta, META)


def test_a_resumed_run_drops_what_was_in_flight(tmp_path: Path) -> None:
    federation = Federation(NODES, ReplyPlan(buffer=3), 6, pace, rule=OuterRule("Adam", 0.05))
    first = federation.run(7, folder=tmp_path)
    checkpoint = latest_checkpoint(tmp_path)
    assert checkpoint is not None
    assert checkpoint.round == 7
    assert first.journal[-1]["in_flight"] > 0

    def resumed() -> Ran:
        outer = OuterOptimiser(checkpoint.meta, OuterRule("Adam", 0.05), 12)
        outer.restore(checkpoint.outer)
        return federation.run(5, outer=outer, done=7)

    once, twice = resumed(), resumed()
    assert [record["round"] for record in once.rounds] == [8, 9, 10, 11, 12]
    assert min(group for group, _, _ in once.grid.sent) == 8, "nothing older is counted"
    assert same_bits(once.outer.meta, twice.outer.meta)


def test_no_node_moves_the_parameters_further_than_the_clip_allows() -> None:
    """The clip of a step bounds old answers too, which were asked for under another one."""
    ran = Federation(NODES, ReplyPlan(buffer=3), 6, pace, clip="adaptive", rule=OuterRule("SGD", 1.0)).run(25)
    clips = [record["clip"] for record in ran.rounds]
    assert all(math.isfinite(clip) for clip in clips)
    assert norm(subtract(ran.outer.meta, META)) <= sum(clips) * (1 + 1e-4)
    assert any(record["scaled"] for record in ran.rounds)


@pytest.mark.parametrize(("staleness", "expected"), [(0, 1.0), (3, 0.5), (8, 1 / 3)])
def test_weights_are_those_of_the_paper(staleness: int, expected: float) -> None:
    assert weight(staleness) == pytest.approx(expected)
    replies = {1: Reply({"w": np.ones(2, np.float32)}, 4), 2: Reply({}, 0)}
    found = discounted(replies, {1: staleness, 2: 5})
    np.testing.assert_allclose(found[1].update["w"], expected, rtol=1e-6)
    assert (found[1].users, found[2].users) == (4, 0), "users count in full, as in the paper"


def test_a_buffer_needs_a_federation() -> None:
    plan = TrainingPlan(cohort=CohortPlan(4), replies=ReplyPlan(buffer=2))
    with refused(DataError, "buffer is 2", "simulation", "set buffer to 0"):
        MetaStrategy(OuterOptimiser(META, OuterRule(), 1), plan)
