"""The ClientApp in this process: where a node finds its users and its bundle, and what it answers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from flwr.app import Context, Message, RecordDict
from tests.core.samples import refused
from tests.federation import plain
from tests.federation.tiny import again_and_again, bundle, looped_engine, population

from tegu.client.federation.client_app import app
from tegu.core.bundle.file import write_bundle
from tegu.core.calibration.assignment import is_calibration_user
from tegu.core.data.tree import max_difference
from tegu.core.errors import FederationError
from tegu.core.sampling.episode import EpisodeRule, draw_users
from tegu.sim.data.cohort import draw_cohort
from tegu.sim.federation.grid import flower_identity
from tegu.sim.training.on_ray import write_partitions
from tegu.wire import Reply, RoundConfig, read_training_reply, to_record, training_request_content

PEOPLE = population(9)
CONFIG = RoundConfig(round=2, seed=7, clip=0.4, episodes=EpisodeRule(2, 6, 4))


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A bundle, and files of two nodes' users."""
    made = tmp_path_factory.mktemp("node")
    write_bundle(made / "init.tegu", bundle())
    write_partitions(made / "rows", PEOPLE, 2)
    return made


def answered(
    node: Mapping[str, object],
    run: Mapping[str, object] | None = None,
    config: RoundConfig = CONFIG,
    memory: RecordDict | None = None,
) -> Reply:
    context = Context(1, 1, dict(node), RecordDict() if memory is None else memory, dict(run or {}))  # type: ignore[arg-type]
    with flower_identity():
        content = training_request_content(to_record(bundle().meta), config)
        return read_training_reply(app(Message(content, dst_node_id=1, message_type="train"), context), bundle().meta)


def expected(users: list[int], config: RoundConfig = CONFIG) -> Reply:
    """In plain torch."""
    meta = {name: torch.tensor(array, dtype=torch.float64) for name, array in bundle().meta.items()}
    total = {name: torch.zeros_like(value) for name, value in meta.items()}
    able = [user for user in users if PEOPLE.counts[user] > config.episodes.min_support]
    for user in able:
        update = plain.update(meta, *plain.rows(PEOPLE, user, config.episodes, config.seed, config.round))
        share = min(1.0, config.clip / plain.length(update))
        total = {name: value + share * update[name] for name, value in total.items()}
    return Reply(plain.as_tree(total), len(able))


def check(found: Reply, wanted: Reply) -> None:
    assert found.users == wanted.users
    assert max_difference(found.update, wanted.update) < 1e-5


def test_a_supernode_has_its_own_files(folder: Path) -> None:
    """They come before whatever the run names."""
    elsewhere = {"bundle": "none.tegu", "partitions": "nowhere"}
    for node, users in enumerate(([0, 2, 4, 6, 8], [1, 3, 5, 7])):
        own = {"data": f"{folder}/rows/{node}.npz", "bundle": f"{folder}/init.tegu", "partition-id": 5}
        check(answered(own, elsewhere), expected(users))


def test_a_simulated_node_has_its_partition(folder: Path) -> None:
    run = {"bundle": f"{folder}/init.tegu", "partitions": f"{folder}/rows"}
    check(answered({"partition-id": 1, "num-partitions": 2}, run), expected([1, 3, 5, 7]))


def test_as_many_users_take_part_as_were_asked(folder: Path) -> None:
    run = {"bundle": f"{folder}/init.tegu", "partitions": f"{folder}/rows"}
    asked = RoundConfig(2, 7, 0.4, EpisodeRule(2, 6, 4), users_per_node=3)
    chosen = [2 * int(place) for place in draw_users(5, 3, asked.seed, asked.round)]
    check(answered({"partition-id": 0}, run, asked), expected(chosen, asked))


@pytest.mark.parametrize("fold", [0, 1])
def test_who_calibrates_in_this_fold_does_not_train(folder: Path, fold: int) -> None:
    run = {"bundle": f"{folder}/init.tegu", "partitions": f"{folder}/rows"}
    asked = replace(CONFIG, calibration_share=0.5, fold=fold)
    training = [user for user in (0, 2, 4, 6, 8) if not is_calibration_user(7, str(PEOPLE.users[user]), 0.5, fold)]
    assert 0 < len(training) < 5
    check(answered({"partition-id": 0}, run, asked), expected(training, asked))


def test_what_rounding_takes_waits_for_the_next_round_of_the_same_training(folder: Path) -> None:
    """Of each fold by itself: no other training may see what the left-out users' updates have left behind."""
    run, memory = {"bundle": f"{folder}/init.tegu", "partitions": f"{folder}/rows"}, RecordDict()
    trainings = [replace(CONFIG, calibration_share=0.5, fold=fold, update_precision="int8") for fold in (0, 1)]
    first, other = (answered({"partition-id": 0}, run, config, memory) for config in trainings)
    again = answered({"partition-id": 0}, run, trainings[0], memory)
    assert max_difference(other.update, answered({"partition-id": 0}, run, trainings[1]).update) == 0
    alone = RecordDict()
    for wanted in (first, again):
        assert max_difference(wanted.update, answered({"partition-id": 0}, run, trainings[0], alone).update) == 0
    assert max_difference(first.update, again.update) > 0, "the second has what the first was rounded by"


@pytest.mark.parametrize("columns", [(), ("group",), ("order",), ("group", "order")])
def test_rows_that_belong_together_are_as_in_simulation(folder: Path, tmp_path: Path, columns: tuple[str, ...]) -> None:
    people = again_and_again(9, frozenset(columns))
    write_partitions(tmp_path, people, 1)
    cohort = draw_cohort(people, np.arange(9), CONFIG.episodes, CONFIG.seed, CONFIG.round)
    assert people.has_units.any()
    update = looped_engine().sum_updates(bundle().meta, cohort, CONFIG.clip)
    check(answered({"data": f"{tmp_path}/0.npz", "bundle": f"{folder}/init.tegu"}), Reply(update, len(cohort.users)))


def test_what_is_not_set_is_named(folder: Path, caplog: pytest.LogCaptureFixture) -> None:
    """In the device's own log. The server learns a class and a code."""
    data = {"data": f"{folder}/rows/0.npz"}
    with refused(FederationError, "FederationError: request: the device cannot use the request"):
        answered(data, {"bundle": ""})
    assert "bundle is not set" in caplog.text
    assert "--node-config \"bundle='...'\"" in caplog.text
    with refused(FederationError, "FederationError: request"):
        answered({"partition-id": 0, "bundle": f"{folder}/init.tegu"})
    assert "partitions is not set" in caplog.text


def test_files_that_cannot_be_read_are_named(folder: Path, caplog: pytest.LogCaptureFixture) -> None:
    with refused(FederationError, "DataError: data: the device cannot read its rows"):
        answered({"partition-id": 9}, {"bundle": f"{folder}/init.tegu", "partitions": f"{folder}/rows"})
    assert f"cannot read {folder}/rows/9.npz" in caplog.text
    with refused(FederationError, "BundleError: bundle: the device cannot read its bundle"):
        answered({"data": f"{folder}/rows/0.npz", "bundle": f"{folder}/none.tegu"})
    assert f"{folder}/none.tegu" in caplog.text
