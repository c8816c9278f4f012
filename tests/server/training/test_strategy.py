"""The strategy on a grid of plain functions: aggregation, cohorts, and unusable replies."""

from __future__ import annotations

import logging
import math
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from tests.server.fake import FunctionGrid, Node, Recorded, random_tree, run_rounds, same_bits

from tegu.core.data.tree import Tree
from tegu.core.errors import DataError, FederationError
from tegu.core.sampling.episode import EpisodeRule
from tegu.server.progress import RoundProgress
from tegu.server.training.calibration_plan import ALL_USERS_TRAIN, CalibrationPlan, LeftOut
from tegu.server.training.checkpoint import read_checkpoint
from tegu.server.training.outer_optimiser import OuterOptimiser, OuterRule
from tegu.server.training.plan import CohortPlan, TrainingPlan, UpdatePlan
from tegu.server.training.strategy import MetaStrategy
from tegu.wire import Reply, RoundConfig

META = random_tree(0)


def sums(seed: int, users: int = 1) -> Node:
    """A node whose reply depends on the parameters and the round."""

    def node(meta: Tree, config: RoundConfig) -> Reply:
        noise = random_tree(1000 * seed + config.round)
        return Reply({name: np.asarray(meta[name] * np.float32(0.1) + noise[name]) for name in meta}, users)

    return node


def failing(meta: Tree, config: RoundConfig) -> Reply:
    raise ZeroDivisionError("the disk is full")


def non_finite(value: float) -> Node:
    def node(meta: Tree, config: RoundConfig) -> Reply:
        update = {name: array.copy() for name, array in meta.items()}
        update["bias"][1] = value
        return Reply(update, 1)

    return node


def other_layout(meta: Tree, config: RoundConfig) -> Reply:
    return Reply({"weight": np.zeros(1, np.float32)}, 1)


def without_users(meta: Tree, config: RoundConfig) -> Reply:
    return Reply(meta, 0)


def plan_for(size: int, *, seed: int = 0, wait_seconds: float = 60.0) -> TrainingPlan:
    return TrainingPlan(seed=seed, cohort=CohortPlan(size, wait_seconds=wait_seconds))


def trained(
    grid: FunctionGrid, rounds: int, plan: TrainingPlan, lr: float = 0.5, left_out: LeftOut = ALL_USERS_TRAIN
) -> Tree:
    outer = OuterOptimiser(META, OuterRule("SGD", lr), rounds)
    run_rounds(MetaStrategy(outer, plan, left_out=left_out), grid, META, rounds)
    return outer.meta


def test_a_round_applies_the_mean_over_users() -> None:
    """The mean is over users and not over replies: a node with three users counts three times."""
    nodes = {5: sums(5, 1), 7: sums(7, 3), 9: sums(9, 2)}
    grid = FunctionGrid(nodes)
    plan = replace(plan_for(3, seed=4), episodes=EpisodeRule(2, 3, 4), updates=UpdatePlan(clip=25.0))
    found = trained(grid, 2, plan)

    expected = {name: value.astype(np.float64) for name, value in META.items()}
    for number in (1, 2):
        config = RoundConfig(number, 4, 25.0, EpisodeRule(2, 3, 4))
        total = [node({n: np.float32(v) for n, v in expected.items()}, config).update for node in nodes.values()]
        expected = {name: expected[name] - 0.5 * sum(each[name] for each in total) / 6 for name in expected}
        assert grid.configs[number - 1] == config
    for name, value in expected.items():
        np.testing.assert_allclose(found[name], value, atol=1e-6)


def test_the_order_of_replies_does_not_matter() -> None:
    """Only the nodes' ids determine the order of summation, so the bits are the same."""
    nodes = {number: sums(number) for number in range(1, 9)}
    backwards = dict(reversed(list(nodes.items())))
    plan = plan_for(8)
    assert same_bits(trained(FunctionGrid(nodes), 3, plan), trained(FunctionGrid(backwards), 3, plan))


@pytest.mark.parametrize(
    ("bad", "reason"),
    [
        (failing, "the disk is full"),
        (non_finite(math.nan), "not finite"),
        (non_finite(math.inf), "not finite"),
        (other_layout, "'bias' is float32[3] in one tree and absent in the other"),
        (without_users, "the reply is of 0 users"),
    ],
)
def test_bad_replies_are_left_out(bad: Node, reason: str, caplog: pytest.LogCaptureFixture) -> None:
    good = {1: sums(1, 2), 3: sums(3)}
    with caplog.at_level(logging.WARNING, "tegu.server.training.strategy"):
        found = trained(FunctionGrid({**good, 2: bad}), 1, plan_for(3))
    assert same_bits(found, trained(FunctionGrid(good), 1, plan_for(2)))
    assert "round 1" in caplog.text
    assert "node 2" in caplog.text
    assert reason in caplog.text


def test_a_round_without_a_usable_reply_is_an_error() -> None:
    grid = FunctionGrid({1: failing, 2: non_finite(math.nan)})
    with pytest.raises(FederationError, match=r"round 1 .*node 1: .*the disk is full.*; node 2: .*not finite"):
        trained(grid, 3, plan_for(2))


def calibrating(meta: Tree, config: RoundConfig) -> Reply:
    return Reply({}, 0)


def test_a_node_whose_users_all_calibrate_is_ignored(caplog: pytest.LogCaptureFixture) -> None:
    good = {1: sums(1, 2), 3: sums(3)}
    with caplog.at_level(logging.WARNING, "tegu.server.training.strategy"):
        found = trained(FunctionGrid({**good, 2: calibrating}), 2, plan_for(3), left_out=LeftOut(0.2))
    assert same_bits(found, trained(FunctionGrid(good), 2, plan_for(2)))
    warnings = [record for record in caplog.records if record.levelno >= logging.WARNING]
    assert [record for record in warnings if record.name == "tegu.server.training.strategy"] == []


def test_a_round_without_users_leaves_the_parameters_unchanged() -> None:
    recorded = Recorded()
    grid = FunctionGrid({1: calibrating, 2: calibrating})
    outer = OuterOptimiser(META, OuterRule("Adam", 0.1), 2)
    strategy = MetaStrategy(outer, plan_for(2), left_out=LeftOut(0.2), progress=recorded)
    run_rounds(strategy, grid, META, 2)
    assert same_bits(outer.meta, META)
    assert [progress.users for progress in recorded.rounds] == [0, 0]
    assert grid.configs[0].calibration_share == 0.2


@pytest.mark.parametrize(
    ("share", "expected"), [(-0.1, "from 0 to 0.5"), (0.6, "from 0 to 0.5"), (math.nan, "a number")]
)
def test_a_share_that_leaves_too_few_training_users_is_refused(share: float, expected: str) -> None:
    with pytest.raises(DataError, match=rf"share is {share}: expected {expected}"):
        CalibrationPlan(share=share)


def test_a_round_without_replies_is_an_error() -> None:
    strategy = MetaStrategy(OuterOptimiser(META, OuterRule(), 1), plan_for(1))
    with pytest.raises(FederationError, match=r"round 4 has no usable reply: no node replied in time"):
        strategy.aggregate_train(4, [])


def test_cohorts_are_drawn_by_seed_and_round() -> None:
    def cohorts_of(seed: int) -> list[list[int]]:
        grid = FunctionGrid({number: sums(number) for number in range(100, 120)})
        trained(grid, 6, plan_for(5, seed=seed))
        return grid.cohorts

    first = cohorts_of(3)
    assert first == cohorts_of(3)
    assert first != cohorts_of(4)
    assert all(len(set(cohort)) == 5 and set(cohort) <= set(range(100, 120)) for cohort in first)
    assert len({tuple(cohort) for cohort in first}) == 6


def test_every_node_is_drawn_over_many_rounds() -> None:
    grid = FunctionGrid({number: sums(number) for number in range(6)})
    trained(grid, 40, plan_for(2))
    counts = np.bincount(np.concatenate(grid.cohorts), minlength=6)
    assert counts.min() > 40 * 2 / 6 / 3


def test_too_few_nodes_are_an_error_after_waiting() -> None:
    began = time.monotonic()
    with pytest.raises(FederationError, match=r"2 nodes are connected and a round needs 3 of 3: connect more"):
        trained(FunctionGrid({1: sums(1), 2: sums(2)}), 1, plan_for(3, wait_seconds=0.3))
    assert 0.3 <= time.monotonic() - began < 5


def test_a_node_that_connects_late_takes_part() -> None:
    class Late(FunctionGrid):
        calls = 0

        def get_node_ids(self) -> list[int]:
            self.calls += 1
            return [1] if self.calls < 3 else [1, 2]

    grid = Late({1: sums(1), 2: sums(2)})
    trained(grid, 1, plan_for(2))
    assert grid.cohorts == [[1, 2]]


@pytest.mark.parametrize(
    ("cohort", "clip", "message"),
    [
        (0, 1.0, "cohort is 0: expected at least 1"),
        (1, 0.0, "clip is 0.0: expected a norm"),
        (1, math.nan, "clip is nan: expected a number"),
    ],
)
def test_settings_out_of_range_are_refused(cohort: int, clip: float, message: str) -> None:
    with pytest.raises(DataError, match=message):
        TrainingPlan(cohort=CohortPlan(cohort), updates=UpdatePlan(clip=clip))


def test_every_round_writes_a_checkpoint_and_notifies_progress(tmp_path: Path) -> None:
    def after(progress: RoundProgress) -> None:
        checkpoint = read_checkpoint(tmp_path / f"round-{progress.round:06d}.safetensors")
        assert checkpoint.round == progress.round
        assert same_bits(checkpoint.meta, progress.meta)

    recorded = Recorded(after)
    outer = OuterOptimiser(META, OuterRule("Adam", 0.1), 5)
    strategy = MetaStrategy(outer, plan_for(2), checkpoints=tmp_path, progress=recorded)
    run_rounds(strategy, FunctionGrid({1: sums(1, 2), 2: sums(2)}), META, 5)
    assert [(each.round, each.users, each.user_rounds) for each in recorded.rounds] == [
        (number, 3, 3 * number) for number in range(1, 6)
    ]
    assert same_bits(recorded.rounds[-1].meta, outer.meta)
    assert not same_bits(recorded.rounds[0].meta, recorded.rounds[1].meta)
