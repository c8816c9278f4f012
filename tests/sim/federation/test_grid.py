"""The in-process grid replies as devices would: against a plain loop over the client's participants."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pytest
from flwr.app import Message, MessageType
from flwr.supercore.task_identity import TaskIdentity
from tests.core.samples import refused
from tests.federation.tiny import SPEC, again_and_again, batched_engine, bundle, looped_engine, population

from tegu.client.federation.updates import sum_of_updates
from tegu.client.runtimes.onnx_runtime import OnnxRuntime
from tegu.core.compression.precision import Precision
from tegu.core.data.tree import Tree, add, max_difference, norm, subtract
from tegu.core.errors import FederationError, PopulationError
from tegu.core.sampling.episode import EpisodeRule
from tegu.server.training.outer_optimiser import OuterRule
from tegu.server.training.plan import CohortPlan, TrainingPlan, UpdatePlan
from tegu.sim.data.population import Population
from tegu.sim.engine import Engine
from tegu.sim.federation.grid import InProcessGrid, answer_with, flower_identity, partitions
from tegu.sim.training.in_process import train_in_process
from tegu.wire import Reply, RoundConfig, payload_bytes, read_training_reply, to_record, training_request_content

USERS = 11
CONFIG = RoundConfig(round=3, seed=7, clip=0.4, episodes=EpisodeRule(1, 6, 4))
ENGINES: dict[str, Callable[[], Engine]] = {
    "batched": batched_engine,
    "looped": looped_engine,
}


def by_participants(people: Population, meta: Tree, config: RoundConfig, nodes: int, addressed: list[int]) -> Reply:
    """The sum of the replies of the addressed nodes (from 1), each a device with its own users."""
    runtime, total, users = OnnxRuntime(bundle().graphs), None, 0
    for node in addressed:
        local = [people.local(user) for user in partitions(people, nodes)[node - 1]]
        update, count, _, _ = sum_of_updates(
            runtime,
            meta,
            local,
            seed=config.seed,
            round_number=config.round,
            clip_norm=config.clip,
            episodes=config.episodes,
            users_per_node=config.users_per_node,
        )
        total, users = update if total is None else add(total, update), users + count
    assert total is not None
    return Reply(total, users)


def by_grid(grid: InProcessGrid, meta: Tree, config: RoundConfig, addressed: list[int]) -> list[Message]:
    with flower_identity():
        content = training_request_content(to_record(meta), config)
        return list(
            grid.send_and_receive(
                Message(content, dst_node_id=node, message_type=MessageType.TRAIN, group_id="1") for node in addressed
            )
        )


@pytest.mark.parametrize("clip", [0.4, math.inf])
@pytest.mark.parametrize(
    ("nodes", "addressed", "users"),
    [(USERS, [2, 3, 9], 0), (USERS, list(range(1, 12)), 0), (3, [1, 3], 0), (3, [2], 0), (1, [1], 4), (2, [1, 2], 3)],
)
@pytest.mark.parametrize("kind", ENGINES)
def test_a_round_equals_the_sum_of_the_participants_replies(
    kind: str, nodes: int, addressed: list[int], users: int, clip: float
) -> None:
    people, meta = population(USERS), bundle().meta
    config = RoundConfig(CONFIG.round, CONFIG.seed, clip, CONFIG.episodes, users)
    grid = InProcessGrid(nodes, answer_with(ENGINES[kind](), people, nodes))
    (message,) = by_grid(grid, meta, config, addressed)
    reply, expected = read_training_reply(message, meta), by_participants(people, meta, config, nodes, addressed)
    assert reply.users == expected.users == (users * len(addressed) or reply.users)
    assert max_difference(reply.update, expected.update) < 1e-5
    assert norm(expected.update) > 0.1


def test_rounds_and_seeds_draw_other_episodes() -> None:
    people, meta = population(USERS), bundle().meta
    grid = InProcessGrid(3, answer_with(looped_engine(), people, 3))
    first, again, later, other = (
        read_training_reply(by_grid(grid, meta, RoundConfig(number, seed, 9.0, CONFIG.episodes), [1])[0], meta).update
        for number, seed in ((1, 0), (1, 0), (2, 0), (1, 1))
    )
    assert max_difference(first, again) == 0
    assert min(norm(subtract(first, later)), norm(subtract(first, other))) > 1e-3


def test_each_user_belongs_to_one_node() -> None:
    dealt = partitions(population(USERS), 3)
    assert sorted(user for users in dealt for user in users) == list(range(USERS))
    assert [len(users) for users in dealt] == [4, 4, 3]
    assert [users.tolist() for users in partitions(population(USERS), USERS)] == [[user] for user in range(USERS)]


@pytest.mark.parametrize("columns", [(), ("group",), ("order",), ("group", "order")])
def test_row_units_are_drawn_as_participants_draw_them(columns: tuple[str, ...]) -> None:
    people, meta = again_and_again(USERS, frozenset(columns)), bundle().meta
    assert people.has_units.any()
    expected = by_participants(people, meta, CONFIG, 1, [1])
    assert 1 < expected.users < USERS
    for engine in (batched_engine(), looped_engine()):
        grid = InProcessGrid(1, answer_with(engine, people, 1))
        found = read_training_reply(by_grid(grid, meta, CONFIG, [1])[0], meta)
        assert found.users == expected.users
        assert max_difference(found.update, expected.update) < 1e-5


def test_a_user_whose_rows_cannot_be_split_is_named() -> None:
    people = Population.from_arrays(np.ones((4, 4)), [0, 1, 2, 0], ["al"] * 4, SPEC)
    with refused(PopulationError, "user al has 4 rows, of which at most 0", "at least 2", "population.with_rows"):
        train_in_process(looped_engine(), people, bundle().meta, TrainingPlan(rounds=1, cohort=CohortPlan(1)))


def test_users_with_too_few_rows_are_left_out() -> None:
    people = population(USERS)
    rule = EpisodeRule(5, 8, 4)
    able = [user for user in range(USERS) if people.counts[user] > 5]
    assert 0 < len(able) < USERS
    config = RoundConfig(1, 0, 1.0, rule)
    grid = InProcessGrid(1, answer_with(looped_engine(), people, 1))
    reply = read_training_reply(by_grid(grid, bundle().meta, config, [1])[0], bundle().meta)
    assert reply.users == len(able)
    assert max_difference(reply.update, by_participants(people, bundle().meta, config, 1, [1]).update) < 1e-6


def test_an_empty_cohort_is_an_error_reply() -> None:
    """A device without enough rows replies in the same way. A run of such rounds ends with the reason."""
    people = population(USERS)
    rule = EpisodeRule(50, 60, 4)
    grid = InProcessGrid(2, answer_with(looped_engine(), people, 2))
    (message,) = by_grid(grid, bundle().meta, RoundConfig(1, 0, 1.0, rule), [1, 2])
    assert message.has_error()
    plan = TrainingPlan(rounds=2, cohort=CohortPlan(2, 2), episodes=rule)
    with pytest.raises(FederationError, match=r"round 1 .*none of the cohort's users has more than 50 rows"):
        train_in_process(looped_engine(), people, bundle().meta, plan)


def test_batched_and_looped_training_agree() -> None:
    people, meta = population(USERS), bundle().meta
    plan = TrainingPlan(
        rounds=4,
        seed=3,
        cohort=CohortPlan(2, 3),
        outer=OuterRule("Adam", 0.02),
        episodes=CONFIG.episodes,
        updates=UpdatePlan(clip=0.5),
    )
    batched, looped = (train_in_process(make(), people, meta, plan) for make in ENGINES.values())
    assert batched.user_rounds == looped.user_rounds
    assert max_difference(batched.meta, looped.meta) < 1e-4
    assert max_difference(batched.meta, meta) > 1e-2


def test_each_pushed_message_gets_one_reply() -> None:
    """Also if an earlier reply is pulled before a later message is pushed."""

    calls = iter((1.0, 2.0, 3.0))

    class Counting(Engine):
        def sum_updates(self, *arguments: object) -> Tree:
            return {"number": bundle().meta["0.bias"] * 0 + next(calls)}

    grid = InProcessGrid(3, answer_with(Counting(looped_engine().backend, bundle().manifest), population(USERS), 3))
    content = training_request_content(to_record(bundle().meta), CONFIG)

    def push() -> list[str]:
        return list(grid.push_messages([Message(content, dst_node_id=1, message_type=MessageType.TRAIN, group_id="1")]))

    def number(message_ids: list[str]) -> list[float]:
        return [float(read_training_reply(reply, {}).update["number"][0]) for reply in grid.pull_messages(message_ids)]

    with flower_identity():
        first, second = push(), push()
        assert number(first) == [1]
        third = push()
        assert len({*first, *second, *third}) == 3
        assert number(second + third) == [2, 3]
        assert number(first) == []
        assert list(grid.push_messages([])) == []
    assert list(grid.send_and_receive([])) == []


def test_the_identity_is_restored() -> None:
    names = ("_task_id", "_run_id", "_node_id")
    before = [getattr(TaskIdentity, name) for name in names]
    inside = []

    def fail() -> None:
        inside.append(TaskIdentity.node_id)
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError), flower_identity():
        fail()
    assert inside == [1]
    assert [getattr(TaskIdentity, name) for name in names] == before


# --- rounded updates ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("updates", "share"), [("float16", 0.52), ("int8", 0.4)])
def test_each_node_sends_its_own_rounded_update(updates: Precision, share: float) -> None:
    """Each is within one rounding step of the exact update, and takes fewer bytes."""
    people, meta = population(USERS), bundle().meta
    config = RoundConfig(CONFIG.round, CONFIG.seed, CONFIG.clip, CONFIG.episodes, update_precision=updates)
    grid = InProcessGrid(3, answer_with(looped_engine(), people, 3))
    for node, message in zip((1, 3), by_grid(grid, meta, config, [1, 3]), strict=True):
        exact = by_participants(people, meta, config, 3, [node])
        largest = max(abs(value).max() for value in exact.update.values())
        found = read_training_reply(message, meta)
        assert found.users == exact.users
        assert 0 < max_difference(found.update, exact.update) <= largest / 127
        assert payload_bytes(message.content) < share * 4 * sum(value.size for value in meta.values()) + 256


def test_rounding_errors_are_compensated_in_later_rounds() -> None:
    """Over many rounds the sum of the sent updates stays within one rounding of the sum of the exact updates."""
    people, meta = population(USERS), bundle().meta
    grid = InProcessGrid(3, answer_with(looped_engine(), people, 3))
    sent, wanted, worst = None, None, 0.0
    for number in range(1, 31):
        config = RoundConfig(number, CONFIG.seed, CONFIG.clip, CONFIG.episodes, update_precision="int8")
        (message,) = by_grid(grid, meta, config, [2])
        found, exact = read_training_reply(message, meta).update, by_participants(people, meta, config, 3, [2]).update
        sent, wanted = (found, exact) if sent is None else (add(sent, found), add(wanted, exact))
        worst = max(worst, *(float(abs(value).max()) for value in found.values()))
    assert max_difference(sent, wanted) < 0.51 * worst / 127 + 1e-5
    assert norm(wanted) > 1


def test_training_with_rounded_updates_learns_the_same() -> None:
    people, meta = population(USERS), bundle().meta
    plain, half, eighth = (
        train_in_process(
            looped_engine(),
            people,
            meta,
            TrainingPlan(rounds=6, seed=3, cohort=CohortPlan(8), updates=UpdatePlan(updates)),
        )
        for updates in ("float32", "float16", "int8")
    )
    moved = max_difference(plain.meta, meta)
    assert 0 < max_difference(plain.meta, half.meta) < 0.01 * moved
    assert 0 < max_difference(plain.meta, eighth.meta) < 0.05 * moved
    assert half.user_rounds == eighth.user_rounds == plain.user_rounds
    assert 0 < eighth.received < half.received
