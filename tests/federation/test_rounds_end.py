"""A SuperLink with three SuperNodes, one of which is killed: its round ends without it, and so do all later ones."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple

import psutil
import pytest
from tests.federation.nodes import paths_of_run, write_nodes
from tests.federation.tiny import bundle, flower_processes, population

from tegu.core.sampling.episode import EpisodeRule
from tegu.server import APP_DIR
from tegu.server.deployment import FlowerRun, LocalFlower, local_federation
from tegu.server.rounds.reply_plan import ReplyPlan
from tegu.server.run_config import to_config
from tegu.server.training.journal import read_events
from tegu.server.training.plan import CohortPlan, TrainingPlan, UpdatePlan

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("superlink")]

NODES, USERS, DEADLINE = 3, 11, 20.0
PLAN = TrainingPlan(
    rounds=4,
    seed=1,
    cohort=CohortPlan(NODES, wait_seconds=5.0),
    episodes=EpisodeRule(1, 6, 4),
    updates=UpdatePlan(clip=1.0),
    replies=ReplyPlan(quorum=2, deadline=DEADLINE),
)


class Killed(NamedTuple):
    """What happened when a SuperNode was killed after the first of four rounds."""

    run: FlowerRun
    folder: Path
    flower: LocalFlower

    @property
    def log(self) -> list[dict[str, Any]]:
        return list(json.loads((self.folder / "out" / "rounds.json").read_text())["log"])


def kill_after_round_one(folder: Path) -> None:
    """Kill the third SuperNode with everything that it has started, as if its machine had stopped."""
    journal = folder / "out" / "checkpoints"
    deadline = time.monotonic() + 100
    while not any(event["event"] == "round" for event in read_events(journal)[0]) and time.monotonic() < deadline:
        time.sleep(0.05)
    for process in flower_processes(folder):
        with suppress(psutil.NoSuchProcess):
            if "node-config-2.toml" in " ".join(process.cmdline()):
                for each in [process, *process.children(recursive=True)]:
                    each.kill()


@pytest.fixture(scope="module")
def killed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Killed]:
    folder = tmp_path_factory.mktemp("rounds-end")
    nodes = write_nodes(folder, bundle(), population(USERS), NODES)
    with local_federation(APP_DIR, folder / "flower", nodes) as flower:
        killer = threading.Thread(target=kill_after_round_one, args=[folder])
        killer.start()
        run = flower.run({**to_config(PLAN.training_only()), **paths_of_run(folder)}, timeout=300)
        killer.join()
        yield Killed(run, folder, flower)


def test_the_run_completes_without_the_node(killed: Killed) -> None:
    assert killed.run.completed, killed.run.log
    assert [(each["round"], len(each["nodes"])) for each in killed.log] == [(1, 3), (2, 2), (3, 2), (4, 2)]
    missing = {node for each in killed.log for node in each["late"]}
    assert len(missing) == 1
    assert missing.isdisjoint(killed.log[-1]["nodes"])
    assert missing < set(killed.log[0]["nodes"])


def test_its_round_ends_in_time_and_the_next_do_not_wait(killed: Killed) -> None:
    seconds = [each["seconds"] for each in killed.log]
    print("seconds of the rounds:", seconds)
    assert DEADLINE <= seconds[1] < DEADLINE + 10
    assert max(seconds[2:]) < DEADLINE, "nobody waits for it again"
    assert sum(each["users"] for each in killed.log) == USERS + 3 * killed.log[1]["users"]


def test_a_quorum_that_is_not_there_is_told_and_ends_the_run(killed: Killed) -> None:
    """Flower takes up to a minute to see that a node has gone."""
    log = ""
    config = {**to_config(PLAN.training_only()), **paths_of_run(killed.folder, "more"), "quorum": 3, "attempts": 1}
    run = killed.flower.run(config, timeout=300)
    log = run.log
    assert run.status == "finished:failed"
    (reason,) = [line for line in log.splitlines() if line.startswith("tegu.core.errors.FederationError")]
    if "are connected" in reason:
        assert "waiting: 2 of 3 connected" in log
        assert "2 nodes are connected and a round needs 3 of 3: connect more nodes" in reason
    else:
        assert "round 1 has usable replies of 2 nodes after 1 attempt and its quorum is 3" in reason
    assert not (killed.folder / "more" / "init.tegu").exists()
