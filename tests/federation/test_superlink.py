"""A real federation: a SuperLink and three SuperNodes on loopback, each with only its own users' rows."""

from __future__ import annotations

import json
import socket
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

import psutil
import pytest
from tests.federation.imported_modules import Imported, record_imports, recorded_imports
from tests.federation.nodes import paths_of_run, write_nodes
from tests.federation.plain import Rounds, reptile_rounds
from tests.federation.tiny import bundle, flower_processes, looped_engine, population, running

from tegu.core.bundle.file import Bundle, read_bundle
from tegu.core.data.tree import digest, max_difference
from tegu.core.sampling.episode import EpisodeRule
from tegu.server import APP_DIR
from tegu.server.deployment import FlowerRun, local_federation
from tegu.server.run_config import to_config
from tegu.server.training.outer_optimiser import OuterRule
from tegu.server.training.plan import CohortPlan, TrainingPlan, UpdatePlan
from tegu.sim.training.in_process import train_in_process

slow = pytest.mark.slow
pytestmark = pytest.mark.xdist_group("superlink")

NODES, USERS = 3, 11
PLAN = TrainingPlan(
    rounds=3,
    seed=5,
    cohort=CohortPlan(NODES, NODES),
    outer=OuterRule("SGD", 0.8, decay=True),
    episodes=EpisodeRule(3, 6, 4),
    updates=UpdatePlan(clip=0.4),
)
HEAVY = {"torch", "onnx", "pandas", "ray"}
IMPORT = "import sys, tegu.client.federation.client_app; print(*sorted(sys.modules))"


class Federated(NamedTuple):
    """The result of a federation, and what was observed while it ran."""

    run: FlowerRun
    out: Path
    imported: list[Imported]
    processes: set[psutil.Process]
    listening: set[tuple[str, int]]
    workdir: Path

    @property
    def bundle(self) -> Bundle:
        return read_bundle(self.out / "init.tegu")


@pytest.fixture(scope="module")
def federated(tmp_path_factory: pytest.TempPathFactory) -> Federated:
    """One run of the plan; the federation is stopped afterwards."""
    folder = tmp_path_factory.mktemp("superlink")
    nodes = write_nodes(folder, bundle(), population(USERS), NODES)
    with record_imports(folder / "imports"), local_federation(APP_DIR, folder / "flower", nodes) as flower:
        run = flower.run({**to_config(PLAN.training_only()), **paths_of_run(folder)}, timeout=120)
        processes = flower_processes(folder)
        listening = listening_sockets(processes)
    return Federated(run, folder / "out", recorded_imports(folder / "imports"), processes, listening, folder)


@pytest.fixture(scope="module")
def expected() -> Rounds:
    return reptile_rounds(bundle().meta, population(USERS), PLAN)


def listening_sockets(processes: set[psutil.Process]) -> set[tuple[str, int]]:
    found = set()
    for process in processes:
        for connection in process.net_connections("inet"):
            if connection.status == psutil.CONN_LISTEN:
                found.add((connection.laddr.ip, connection.laddr.port))
    return found


def answers(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


@slow
def test_flower_reports_a_completed_run(federated: Federated) -> None:
    assert federated.run.status == "finished:completed", federated.run.log
    assert federated.run.completed
    assert federated.run.seconds > 0


@slow
def test_the_result_equals_plain_torch(federated: Federated, expected: Rounds) -> None:
    assert min(expected.lengths) < PLAN.updates.first_clip < max(expected.lengths), (
        "the limit must cut some and leave some"
    )
    assert max_difference(expected.meta, bundle().meta) > 0.05
    assert max_difference(federated.bundle.meta, expected.meta) < 1e-5


@slow
def test_the_result_equals_in_process_training(federated: Federated) -> None:
    trained = train_in_process(looped_engine(), population(USERS), bundle().meta, PLAN)
    assert max_difference(federated.bundle.meta, trained.meta) < 1e-5


@slow
def test_every_round_counts_its_users(federated: Federated, expected: Rounds) -> None:
    counts = {str(number): users for number, users in enumerate(expected.users, 1)}
    assert set(counts.values()) <= set(range(NODES, USERS)), "some users must stay out"
    summary = json.loads((federated.out / "rounds.json").read_text())
    log = summary.pop("log")
    assert [(entry["round"], entry["users"], len(entry["nodes"])) for entry in log] == [
        (number, users, NODES) for number, users in enumerate(expected.users, 1)
    ]
    assert summary == {
        "rounds": 3,
        "kept_round": 3,
        "resumed_at": 0,
        "users": counts,
        "validations": [],
        "decline": {},
        "refused": {},
        "privacy": {},
        "refused_in_calibration": [],
        "refused_in_validation": [],
        "meta": digest(federated.bundle.meta),
    }
    assert federated.bundle.manifest.training["users_a_round"] == counts


@slow
def test_the_bundle_keeps_its_graphs(federated: Federated) -> None:
    assert federated.bundle.graphs == bundle().graphs
    assert federated.bundle.manifest.spec == bundle().manifest.spec


@slow
def test_only_the_server_imports_torch(federated: Federated) -> None:
    clients = [each for each in federated.imported if "tegu.client.federation.client_app" in each.modules]
    servers = [each for each in federated.imported if "tegu.server.app" in each.modules]
    assert len(clients) >= NODES
    assert all("onnxruntime" in each.modules for each in clients), "the ClientApps must have trained"
    assert len(servers) == 1
    assert "torch" in servers[0].modules
    assert [(each.program, HEAVY & each.modules) for each in federated.imported if each not in servers
            if HEAVY & each.modules] == []  # fmt: skip


@slow
def test_all_ports_listen_on_loopback_only(federated: Federated) -> None:
    assert len(federated.listening) == NODES + 1
    assert {address for address, _ in federated.listening} == {"127.0.0.1"}


@slow
def test_no_process_remains(federated: Federated) -> None:
    assert len(federated.processes) > NODES
    assert running(federated.processes) == []
    assert running(flower_processes(federated.workdir)) == []
    assert [port for _, port in federated.listening if answers(port)] == []


def test_the_client_app_imports_nothing_heavy() -> None:
    printed = subprocess.run([sys.executable, "-c", IMPORT], capture_output=True, check=True, text=True).stdout
    loaded = set(printed.split())
    assert {"tegu.client.federation.client_app", "flwr", "numpy"} <= loaded
    assert loaded & HEAVY == set()
