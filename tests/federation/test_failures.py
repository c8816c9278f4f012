"""Federations with faults: the status of the run and the text of its log."""

from __future__ import annotations

import json
import math
import socket
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import pytest
from tests.federation.nodes import paths_of_run, write_nodes
from tests.federation.process_helpers import commands_in
from tests.federation.tiny import bundle, flower_processes, looped_engine, population, running

from tegu.core.bundle.file import read_bundle
from tegu.core.data.tree import max_difference
from tegu.core.errors import FederationError
from tegu.core.sampling.episode import EpisodeRule
from tegu.server import APP_DIR
from tegu.server.deployment import LocalFlower, local_federation
from tegu.server.deployment import local_flower as module
from tegu.server.deployment.environment import Scalar
from tegu.server.rounds.reply_plan import ReplyPlan
from tegu.server.run_config import to_config
from tegu.server.training.plan import CohortPlan, TrainingPlan, UpdatePlan
from tegu.sim.training.in_process import train_in_process

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("superlink")]

NODES, USERS = 3, 11
PLAN = TrainingPlan(
    rounds=1,
    seed=1,
    cohort=CohortPlan(NODES, NODES),
    episodes=EpisodeRule(1, 6, 4),
    updates=UpdatePlan(clip=math.inf),
)


class Federation(NamedTuple):
    """Three SuperNodes. Only the first has a readable file of rows."""

    flower: LocalFlower
    folder: Path

    def config(self, plan: TrainingPlan, out: str, **changes: Scalar) -> dict[str, Scalar]:
        return {**to_config(plan.training_only()), **paths_of_run(self.folder, out), **changes}


@pytest.fixture(scope="module")
def federation(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Federation]:
    folder = tmp_path_factory.mktemp("failures")
    nodes = write_nodes(folder, bundle(), population(USERS), NODES)
    (folder / "rows" / "1.npz").write_text("these are no rows")
    (folder / "rows" / "2.npz").unlink()
    with local_federation(APP_DIR, folder / "flower", nodes) as flower:
        yield Federation(flower, folder)
        processes = flower_processes(folder)
    assert len(processes) > NODES
    assert running(processes | flower_processes(folder)) == []


def test_a_wrong_setting_fails_the_run(federation: Federation) -> None:
    run = federation.flower.run(federation.config(PLAN, "wrong", outer="yogii"), timeout=120)
    assert run.status == "finished:failed"
    assert not run.completed
    assert "UnknownNameError: no optimiser is called 'yogii'. Did you mean 'Yogi'?" in run.log
    assert not (federation.folder / "wrong").exists()


def test_nodes_that_cannot_read_their_rows_are_left_out(federation: Federation) -> None:
    run = federation.flower.run(federation.config(replace(PLAN, replies=ReplyPlan(quorum=1)), "left-out"), timeout=120)
    assert run.completed, run.log
    alone = population(USERS).subset(range(0, USERS, NODES))
    assert json.loads((federation.folder / "left-out" / "rounds.json").read_text())["users"] == {"1": len(alone)}
    expected = train_in_process(looped_engine(), alone, bundle().meta, replace(PLAN, cohort=CohortPlan(1, 1)))
    found = read_bundle(federation.folder / "left-out" / "init.tegu").meta
    assert max_difference(found, expected.meta) < 1e-5
    assert max_difference(found, bundle().meta) > 0.01
    assert run.log.count("round 1: a reply is left out: node ") == 2
    assert run.log.count("DataError: data: the device cannot read its rows") >= 2
    for node in (1, 2):
        path = f"{federation.folder}/rows/{node}.npz"
        assert path not in run.log, "it stays in the node's own log"
        assert f"cannot read {path}" in federation.flower.log(f"supernode{node}")


def test_a_round_without_a_usable_reply_fails_the_run(federation: Federation) -> None:
    """No user of the one node with readable rows has enough of them."""
    run = federation.flower.run(
        federation.config(replace(PLAN, episodes=EpisodeRule(50, 60, 4)), "nobody"), timeout=120
    )
    assert run.status == "finished:failed"
    (reason,) = [line for line in run.log.splitlines() if "FederationError: round 1 has no usable reply" in line]
    assert reason.count("the participant failed") == NODES
    assert "PopulationError: no-rows: no user of the device has enough rows" in reason
    assert str(federation.folder) not in reason
    own = federation.flower.log("supernode0")
    assert "none of 4 users has more than 50 rows: collect more, or lower min_support" in own
    out = federation.folder / "nobody"
    left = [path.name for path in out.rglob("*") if path.is_file() and path.parent != out / "bundles"]
    assert sorted(left) == ["journal.jsonl", "run.json"], "records of the run, no checkpoint and no new bundle"


def test_an_unknown_setting_is_refused(federation: Federation) -> None:
    with pytest.raises(FederationError, match=r"(?s)flwr run has ended with code 1: .*Invalid run configuration"):
        federation.flower.run({"no-such-setting": 1}, timeout=120)
    assert "'no-such-setting' is not present" in federation.flower.log("superlink")


def test_a_run_that_takes_too_long_is_an_error(federation: Federation) -> None:
    with pytest.raises(FederationError, match=r"flwr run has not ended after 0\.1 s: raise the timeout"):
        federation.flower.run(federation.config(PLAN, "late"), timeout=0.1)


def test_a_superlink_that_cannot_start_is_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The port of the SuperLink is in use. The SuperNode, which would wait for it, is stopped."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        ports = [int(taken.getsockname()[1]), *module.free_ports(1)]
        monkeypatch.setattr(module, "free_ports", lambda count: ports)
        with (
            pytest.raises(FederationError, match="the SuperLink does not answer: superlink has ended with") as error,
            local_federation(APP_DIR, tmp_path, [{"data": "none", "bundle": "none"}]),
        ):
            raise AssertionError
    assert str(ports[0]) in str(error.value)
    assert commands_in(tmp_path) == []
    assert running(flower_processes(tmp_path)) == []
