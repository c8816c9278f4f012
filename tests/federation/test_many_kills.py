"""Ten and more kills in a run of twenty rounds, where `TEGU_KILLS` is set: `TEGU_KILLS=12 pytest` with this file."""

from __future__ import annotations

import json
import os
import random
import time
from pathlib import Path

import pytest
from tests.federation.killing import (
    JOINS,
    KILLED,
    NODES,
    USERS,
    kill,
    nothing_left,
    plan,
    prepare,
    rounds_run,
    started,
    tegu,
    wait_until,
)
from tests.federation.tiny import bundle, flower_processes, looped_engine, population, running

from tegu.core.bundle.file import read_bundle
from tegu.core.data.tree import max_difference
from tegu.sim.training.in_process import train_in_process

KILLS = int(os.environ.get("TEGU_KILLS", "0"))
ROUNDS = 20

pytestmark = [
    pytest.mark.slow,
    pytest.mark.xdist_group("superlink"),
    pytest.mark.skipif(not KILLS, reason="set TEGU_KILLS to a number of kills"),
]


def test_a_run_that_is_killed_again_and_again_ends_as_an_undisturbed_one(tmp_path: Path) -> None:
    prepare(tmp_path, ROUNDS, f"quorum = {NODES}")  # whoever was killed is waited for: the result must be exact
    moment = random.Random(KILLS)
    waiting: list[str] = []
    faults: list[str] = []
    with (
        nothing_left(tmp_path),
        started(tmp_path, "serve", "serve", "federation.toml") as server,
        started(tmp_path, "join-0", *JOINS[0]),
        started(tmp_path, "join-1", *JOINS[1]),
        started(tmp_path, "join-2", *JOINS[2]),
    ):
        wait_until(lambda: "serving at" in server.said())
        tegu(tmp_path, "nodes", "add", "federation.toml", *(f"keys/node-{node}.pub" for node in range(NODES)))
        for number in range(KILLS):
            due = 1 + number * (ROUNDS - 2) // KILLS
            wait_until(lambda due=due: rounds_run(tmp_path) >= due or server.process.poll() is not None)  # type: ignore[misc]
            time.sleep(moment.uniform(0, 8))
            waiting = waiting or moment.sample(KILLED, len(KILLED))
            faults.append(kill(tmp_path, waiting.pop()))
        assert server.process.wait(600) == 0, server.said()
    log = json.loads((tmp_path / "out/rounds.json").read_text())["log"]
    assert len(faults) == KILLS
    assert [each["round"] for each in log] == list(range(1, ROUNDS + 1))
    assert all(len(each["nodes"]) == NODES for each in log), log
    expected = train_in_process(looped_engine(), population(USERS), bundle().meta, plan(ROUNDS))
    difference = max_difference(read_bundle(tmp_path / "out/init.tegu").meta, expected.meta)
    print(f"{len(faults)} kills {faults}, difference {difference:.3g}")
    assert difference < 1e-5
    assert running(flower_processes(tmp_path)) == []
