"""Noise on a round's sum: how much, before which step, for whom, and how many rounds an epsilon allows."""

from __future__ import annotations

import itertools
import json
import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from tests.core.samples import refused
from tests.server.fake import FunctionGrid, Node, Recorded, random_tree, run_rounds, same_bits

from tegu.core.data.tree import Tree, clip, norm, scale, subtract
from tegu.core.errors import DataError, FederationError
from tegu.core.privacy.noise import normal_of_seed
from tegu.server.privacy.accountant import Accountant, Spent
from tegu.server.privacy.central import CentralPrivacy
from tegu.server.privacy.plan import PrivacyPlan
from tegu.server.training.calibration_plan import CalibrationPlan
from tegu.server.training.outer_optimiser import OuterOptimiser, OuterRule
from tegu.server.training.plan import CohortPlan, TrainingPlan, UpdatePlan
from tegu.server.training.strategy import MetaStrategy
from tegu.wire import Reply, RoundConfig

META = random_tree(0)
WIDE = random_tree(0, {"w": (100, 100)})
CLIP = 0.5
SGD = OuterRule("SGD", 1.0)


def person(number: int, size: float = 10.0) -> Node:
    """A node with one person, whose update has this norm before the clip and changes with the round."""

    def node(meta: Tree, config: RoundConfig) -> Reply:
        drawn = random_tree(100 * number + config.round, {name: array.shape for name, array in meta.items()})
        update = scale(drawn, size / norm(drawn))
        return Reply(clip(update, config.clip), 1, int(size <= config.clip))

    return node


def absent(meta: Tree, config: RoundConfig) -> Reply:
    return Reply({name: np.zeros_like(array) for name, array in meta.items()}, 1, 1)


def plan_with(
    privacy: PrivacyPlan, *, cohort: int = 4, rounds: int = 3, updates: UpdatePlan | None = None
) -> TrainingPlan:
    return TrainingPlan(
        rounds=rounds,
        cohort=CohortPlan(cohort, users_per_node=1),
        updates=updates or UpdatePlan(clip=CLIP),
        privacy=privacy,
    )


def trained(
    plan: TrainingPlan,
    nodes: dict[int, Node],
    rule: OuterRule = SGD,
    meta: Tree = META,
    **options: object,
) -> tuple[MetaStrategy, FunctionGrid, OuterOptimiser]:
    outer, grid = OuterOptimiser(meta, rule, 3), FunctionGrid(nodes)
    strategy = MetaStrategy(outer, plan, **options)  # type: ignore[arg-type] # as named there
    run_rounds(strategy, grid, meta, plan.rounds or 0)
    return strategy, grid, outer


def test_noise_enters_before_the_outer_step() -> None:
    """Adam of plain torch, on the sum of clipped updates with noise of the seed, over the planned number of people."""
    plan = plan_with(PrivacyPlan(noise=2.0, seed=9))
    nodes = {number: person(number) for number in range(1, 5)}
    _, grid, outer = trained(plan, nodes, OuterRule("Adam", 0.1))
    assert grid.cohorts == [[1, 2, 3, 4]] * 3, "all nodes, where the cohort is as large"

    parameters = {name: torch.tensor(array).requires_grad_() for name, array in sorted(META.items())}
    adam = torch.optim.Adam(parameters.values(), lr=0.1)
    for number in (1, 2, 3):
        normal = normal_of_seed(9, number)
        now = {name: value.detach().numpy().copy() for name, value in parameters.items()}
        updates = [nodes[node](now, grid.configs[number - 1]).update for node in nodes]
        for name in sorted(parameters):
            noise = 2.0 * CLIP * normal(now[name].size).reshape(now[name].shape)
            total = sum(update[name].astype(np.float64) for update in updates)
            parameters[name].grad = torch.tensor(np.asarray((total + noise) / 4, np.float32))
        adam.step()
    for name, value in parameters.items():
        np.testing.assert_allclose(outer.meta[name], value.detach().numpy(), atol=1e-5)


def test_noise_of_the_system_has_the_deviation_that_is_counted() -> None:
    plan = plan_with(PrivacyPlan(noise=3.0), rounds=1)
    found = []
    for _ in range(2):
        strategy, _, outer = trained(plan, dict.fromkeys(range(1, 5), absent), meta=WIDE)
        found.append(outer.meta["w"] - WIDE["w"])
        assert found[-1].std() == pytest.approx(3.0 * CLIP / 4, rel=0.03)
        assert strategy.privacy["randomness"] == "operating system"
    assert abs(np.corrcoef(found[0].reshape(-1), found[1].reshape(-1))[0, 1]) < 0.05


@pytest.mark.parametrize("size", [0.1, 10.0, 0.9e30])
def test_one_person_moves_the_mean_by_no_more_than_the_clip(size: float) -> None:
    """With the same noise, with the person and with zeros in the person's place. A device of the person may lie."""

    def long(meta: Tree, config: RoundConfig) -> Reply:
        return Reply(scale(person(4, 1.0)(meta, config).update, size / CLIP * 0.999), 1, 0)

    plan = plan_with(PrivacyPlan(noise=1.0, seed=3), rounds=1)
    others: dict[int, Node] = {number: person(number) for number in (1, 2, 3)}
    with_person, without = (trained(plan, {**others, 4: node})[2].meta for node in (long, absent))
    moved = norm(subtract(with_person, without))
    assert moved <= CLIP / 4 * (1 + 1e-4)
    assert size > 1 or moved > 0.01


def test_each_node_takes_part_with_the_same_probability_on_its_own() -> None:
    account = CentralPrivacy(PrivacyPlan(noise=1.0), rounds=1, cohort=10, people=1, adaptive=False)
    drawn = np.asarray(
        [[node in cohort for node in range(40)] for cohort in (account.cohort(range(40), 1) for _ in range(2000))]
    )
    assert drawn.mean() == pytest.approx(0.25, abs=0.01)
    assert drawn.mean(0).min() > 0.19
    assert drawn.mean(0).max() < 0.31
    sizes = drawn.sum(1)
    assert sizes.var() == pytest.approx(40 * 0.25 * 0.75, rel=0.15), "Poisson sampling: a binomial number"
    seeded = [
        CentralPrivacy(PrivacyPlan(noise=1.0, seed=seed), rounds=1, cohort=10, people=1, adaptive=False)
        for seed in (1, 1, 2)
    ]
    one, same, other = ([each.cohort(range(40), number) for number in range(5)] for each in seeded)
    assert one == same != other


def test_a_round_of_nobody_releases_noise_too() -> None:
    """Otherwise an unchanged model would tell that nobody took part."""
    plan = plan_with(PrivacyPlan(noise=1.0, seed=0), cohort=1, rounds=6)
    recorded = Recorded()
    _, grid, outer = trained(plan, {number: person(number) for number in range(1, 7)}, progress=recorded)
    assert len(grid.cohorts) < 6, "some rounds ask nobody"
    assert {progress.users for progress in recorded.rounds} >= {0}
    metas = [META, *(progress.meta for progress in recorded.rounds)]
    assert len(metas) == 7
    assert all(not same_bits(one, other) for one, other in itertools.pairwise(metas))
    assert same_bits(metas[-1], outer.meta)


def test_training_ends_before_epsilon_is_exceeded(capsys: pytest.CaptureFixture[str]) -> None:
    plan = plan_with(PrivacyPlan(epsilon=6.0, noise=2.0), rounds=12)
    recorded = Recorded()
    strategy, grid, _ = trained(plan, {number: person(number) for number in range(1, 5)}, progress=recorded)
    spent = [Accountant(1e-5, [Spent(1.0, 2.0, rounds)]).epsilon() for rounds in range(1, 13)]
    allowed = sum(epsilon <= 6 for epsilon in spent)
    assert 2 <= allowed < 12
    assert [progress.epsilon for progress in recorded.rounds] == pytest.approx(spent[:allowed])
    assert len(grid.cohorts) == allowed
    assert strategy.kept[0] == allowed
    assert strategy.privacy["ended"]
    assert strategy.privacy["epsilon"] == pytest.approx(spent[allowed - 1])


def test_an_epsilon_without_noise_finds_the_noise_for_the_planned_rounds() -> None:
    strategy, _, _ = trained(
        plan_with(PrivacyPlan(epsilon=4.0), cohort=3, rounds=5), {n: person(n) for n in range(1, 7)}
    )
    assert 3.9 < strategy.privacy["epsilon"] <= 4.0
    assert [each["probability"] for each in strategy.privacy["rounds"]] == [0.5]
    assert not strategy.privacy["ended"]


def test_the_account_survives_and_goes_on(tmp_path: Path) -> None:
    """A round that was released and is repeated with fresh noise counts twice; with the noise of a seed once."""
    for seed, rounds in ((None, 4), (5, 3)):
        folder, nodes = tmp_path / str(seed), {number: person(number) for number in range(1, 5)}
        plan = plan_with(PrivacyPlan(noise=2.0, seed=seed))
        trained(replace(plan, rounds=2), nodes, checkpoints=folder)
        strategy, _, _ = trained(replace(plan, rounds=2), nodes, checkpoints=folder, done=1)  # rounds 2 and 3
        assert sum(each["rounds"] for each in strategy.privacy["rounds"]) == rounds
        assert json.loads((folder / "privacy.json").read_text())["last"] == 3
        expected = Accountant(1e-5, [Spent(1.0, 2.0, rounds)]).epsilon()
        assert strategy.privacy["epsilon"] == pytest.approx(expected)


@pytest.mark.parametrize(
    "text",
    [
        None,
        "",
        "{}",
        '{"noise": 2, "last": 1, "spent": []}',
        '{"noise": 2, "last": 9, "spent": [{"probability": 0, "noise": 2, "rounds": 9}]}',
    ],
)
def test_a_run_whose_account_is_lost_is_not_resumed(tmp_path: Path, text: str | None) -> None:
    if text is not None:
        (tmp_path / "privacy.json").write_text(text)
    with refused(FederationError, "privacy.json", "nobody knows what the run has spent", "start again"):
        trained(plan_with(PrivacyPlan(noise=2.0)), {1: absent}, checkpoints=tmp_path, done=2)


def test_an_adaptive_clip_finds_the_median_and_its_count_is_paid_for() -> None:
    sizes = [0.02, 0.03, 0.05, 0.5, 0.6, 0.7]
    nodes = {number: person(number, size) for number, size in enumerate(sizes, 1)}
    plan = plan_with(PrivacyPlan(noise=0.5, seed=1, first_clip=3.0), cohort=6, rounds=60, updates=UpdatePlan())
    assert plan.updates.clip == "adaptive"
    _, grid, _ = trained(plan, nodes)
    clips = [config.clip for config in grid.configs]
    assert clips[0] == 3.0, "no reply decides where the clip begins"
    assert 0.03 < np.median(clips[-15:]) < 0.7
    count = max(6 / 20, 0.5)
    deviation = (0.5**-2 - (2 * count) ** -2) ** -0.5
    assert deviation**-2 + (2 * count) ** -2 == pytest.approx(0.5**-2), "both together are what the accountant counts"
    still = plan_with(PrivacyPlan(noise=0.5, first_clip=2.0), cohort=6, rounds=1, updates=UpdatePlan())
    _, _, outer = trained(still, dict.fromkeys(range(1, 7), absent), meta=WIDE)
    assert (outer.meta["w"] - WIDE["w"]).std() == pytest.approx(deviation * 2.0 / 6, rel=0.03)


PRIVATE = PrivacyPlan(epsilon=8.0)


@pytest.mark.parametrize(
    ("changes", "parts"),
    [
        ({"updates": UpdatePlan(clip=math.inf)}, ["no clip (clip=0)", "set a clip"]),
        ({"updates": UpdatePlan(clip=math.inf), "privacy": PrivacyPlan(local_noise=1.0)}, ["no clip", "set a clip"]),
        ({"privacy": PrivacyPlan(local_noise=1.0)}, ["adaptive", "number"]),
        ({"updates": UpdatePlan(aggregation="median")}, ["aggregation is median", "epsilon", "local_noise"]),
        ({"updates": UpdatePlan("int8")}, ["precision is int8", "use float32"]),
        ({"calibration": CalibrationPlan(folds=2)}, ["folds is 2", "set folds to 0"]),
    ],
)  # fmt: skip
def test_what_noise_cannot_protect_is_refused(changes: dict[str, object], parts: list[str]) -> None:
    with refused(DataError, *parts):
        TrainingPlan(**{"privacy": PRIVATE, **changes})  # type: ignore[arg-type] # as named there
    robust = UpdatePlan(clip=1.0, aggregation="median")
    assert TrainingPlan(privacy=PrivacyPlan(local_noise=1.0), updates=robust).updates is robust


def test_the_number_of_people_of_a_node_must_be_bounded() -> None:
    plan = TrainingPlan(privacy=PRIVATE, cohort=CohortPlan(2))
    with refused(DataError, "users_per_node is 0", "set users_per_node"):
        MetaStrategy(OuterOptimiser(META, OuterRule(), 1), plan)
    MetaStrategy(OuterOptimiser(META, OuterRule(), 1), plan, simulation=0)
    with refused(DataError, "users_per_node is 0"):
        MetaStrategy(OuterOptimiser(META, OuterRule(), 1), replace(plan, cohort=CohortPlan(2, 3)), simulation=0)


@pytest.mark.parametrize(
    ("settings", "part"),
    [
        ({"epsilon": 0.0}, "epsilon is 0.0"), ({"epsilon": math.inf}, "epsilon is inf"), ({"noise": -1.0}, "noise is"),
        ({"delta": 0.0}, "delta is 0.0"), ({"delta": 1}, "delta is 1"), ({"first_clip": 0}, "first_clip is 0"),
        ({"local_noise": math.inf}, "local_noise is inf"), ({"epsilon": "8"}, "epsilon is '8'"),
    ],
)  # fmt: skip
def test_settings_out_of_range_are_named(settings: dict[str, float], part: str) -> None:
    with refused(DataError, part, "expected"):
        PrivacyPlan(**settings)  # type: ignore[arg-type] # that is what is tested
