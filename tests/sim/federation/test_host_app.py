"""The ClientApp of nodes that host many users, in this process: it answers as the ClientApp of devices."""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path

import pytest
import tomli
from flwr.app import Context, Message, RecordDict
from flwr.clientapp import ClientApp
from tests.core.samples import refused
from tests.federation import sine_users
from tests.federation.tiny import batched_engine, bundle, looped_engine, population

from tegu.client.federation import client_app
from tegu.core.bundle.file import write_bundle
from tegu.core.data.tree import max_difference
from tegu.core.data.users import LocalUser
from tegu.core.errors import DataError, FederationError, PopulationError
from tegu.core.sampling.episode import EpisodeRule
from tegu.server import APP_DIR
from tegu.sim.data.population import Population
from tegu.sim.data.population_on_disk import write_population
from tegu.sim.engine import make_engine
from tegu.sim.federation import host_app
from tegu.sim.federation.grid import flower_identity
from tegu.sim.federation.hosts import HOST_APP_DIR, write_hosts
from tegu.sim.training.on_ray import write_partitions
from tegu.wire import Reply, RoundConfig, read_training_reply, to_record, training_request_content

PEOPLE = population(31)
CONFIG = RoundConfig(round=2, seed=7, clip=0.4, episodes=EpisodeRule(2, 6, 4))


def users_of(people: Population) -> Iterator[LocalUser]:
    return (people.local(user) for user in range(len(people)))


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A bundle, and the users of two nodes in both forms."""
    made = tmp_path_factory.mktemp("hosts")
    write_bundle(made / "init.tegu", bundle())
    write_partitions(made / "rows", PEOPLE, 2)
    write_hosts(made / "hosts", bundle(), batched_engine(), users_of(PEOPLE), 2)
    return made


def asked(
    app: ClientApp,
    node: Mapping[str, object],
    run: Mapping[str, object] | None = None,
    config: RoundConfig = CONFIG,
    memory: RecordDict | None = None,
) -> Message:
    context = Context(1, 1, dict(node), RecordDict() if memory is None else memory, dict(run or {}))  # type: ignore[arg-type]
    with flower_identity():
        content = training_request_content(to_record(bundle().meta), config)
        return app(Message(content, dst_node_id=1, message_type="train"), context)


def reply(*asking: object, **options: object) -> Reply:
    return read_training_reply(asked(*asking, **options), bundle().meta)  # type: ignore[arg-type]


@pytest.mark.parametrize("node", [0, 1])
def test_a_supernode_answers_as_a_device(node: int, folder: Path) -> None:
    found = reply(host_app.app, {"data": f"{folder}/hosts/{node}", "bundle": f"{folder}/init.tegu", "workers": 2})
    expected = reply(client_app.app, {"data": f"{folder}/rows/{node}.npz", "bundle": f"{folder}/init.tegu"})
    assert (found.users, found.within) == (expected.users, expected.within)
    assert found.users > 5
    assert max_difference(found.update, expected.update) < 1e-5


def test_a_simulated_node_is_found_by_its_number(folder: Path) -> None:
    run = {"partitions": f"{folder}/hosts", "bundle": f"{folder}/init.tegu"}
    found = [reply(host_app.app, {"partition-id": node}, run) for node in (0, 1)]
    own = [reply(host_app.app, {"data": f"{folder}/hosts/{node}"}, run) for node in (0, 1)]
    assert [max_difference(one.update, two.update) < 1e-6 for one, two in zip(found, own, strict=True)] == [True, True]
    assert max_difference(found[0].update, found[1].update) > 1e-3


def test_rounding_errors_are_carried_over(folder: Path) -> None:
    memory, config = RecordDict(), replace(CONFIG, update_precision="int8")
    node = {"data": f"{folder}/hosts/0", "bundle": f"{folder}/init.tegu"}
    first, second = (reply(host_app.app, node, config=config, memory=memory) for _ in range(2))
    assert len(memory.array_records) == 1
    assert max_difference(first.update, second.update) > 0


def test_it_demands_what_its_configuration_says(folder: Path) -> None:
    node = {"data": f"{folder}/hosts/0", "bundle": f"{folder}/init.tegu", "least-people": 30}
    refusal = asked(host_app.app, node)
    assert str(refusal.error.reason) == "FederationError: few-people"


def test_files_that_are_written_anew_are_read_anew(folder: Path, tmp_path: Path) -> None:
    node = {"data": f"{tmp_path}/hosts/0", "bundle": f"{folder}/init.tegu"}
    before = reply(host_app.app, node | {"data": f"{folder}/hosts/0"})
    write_hosts(tmp_path / "hosts", bundle(), looped_engine(), users_of(PEOPLE), 2)
    first = reply(host_app.app, node)
    shutil.rmtree(tmp_path / "hosts")
    write_hosts(tmp_path / "hosts", bundle(), looped_engine(), users_of(population(31, seed=1)), 2)
    assert max_difference(first.update, before.update) < 1e-5
    assert max_difference(reply(host_app.app, node).update, first.update) > 1e-3


@pytest.mark.parametrize(
    "node", [{"data": "nowhere/0"}, {"data": "nowhere/0", "workers": 0}, {"partition-id": 7}, {"bundle": ""}]
)
def test_a_failure_tells_a_class_and_a_code(node: Mapping[str, object], folder: Path) -> None:
    run = {"partitions": f"{folder}/hosts", "bundle": f"{folder}/init.tegu"}
    failed = asked(host_app.app, {"bundle": f"{folder}/init.tegu", **node}, run if node.get("bundle") != "" else {})
    assert failed.has_error()
    assert str(failed.error.reason).partition(":")[0] in {"BundleError", "DataError", "FederationError"}
    assert str(folder) not in str(failed.error.reason)


def test_a_round_of_another_version_is_sat_out(folder: Path, tmp_path: Path) -> None:
    write_bundle(tmp_path / "init.tegu", sine_users.bundle())
    failed = asked(host_app.app, {"data": f"{folder}/hosts/0", "bundle": f"{tmp_path}/init.tegu"})
    assert str(failed.error.reason).startswith("BundleError")


def test_rows_of_another_model_are_refused(folder: Path, tmp_path: Path) -> None:
    write_hosts(tmp_path, bundle(), looped_engine(), users_of(PEOPLE), 2)
    shutil.rmtree(tmp_path / "0")
    people = sine_users.population()
    write_population(tmp_path / "0", people.spec, users_of(people))
    failed = asked(host_app.app, {"data": f"{tmp_path}/0", "bundle": f"{folder}/init.tegu"})
    assert str(failed.error.reason) == "DataError: data"


def test_hosts_need_users_and_graphs(tmp_path: Path) -> None:
    with refused(PopulationError, "2 users", "at least 3"):
        write_hosts(tmp_path, bundle(), looped_engine(), users_of(population(2)), 3)
    engine = make_engine(sine_users.learner(), sine_users.bundle().graphs, "torch-vmap")
    with refused(DataError, "torch-vmap"):
        write_hosts(tmp_path, sine_users.bundle(), engine, users_of(sine_users.population()), 3)


def test_without_a_place_the_setting_is_named() -> None:
    with refused(FederationError, "partitions is not set"):
        client_app.data_path(Context(1, 1, {}, RecordDict(), {}), "")


def test_the_app_of_hosts_has_the_settings_of_the_app_of_devices() -> None:
    own, devices = (
        tomli.loads((each / "pyproject.toml").read_text())["tool"]["flwr"]["app"] for each in (HOST_APP_DIR, APP_DIR)
    )
    assert own["config"] == devices["config"]
    assert own["components"] == {**devices["components"], "clientapp": "tegu.sim.federation.host_app:app"}
