"""Two participants in this process and a SuperNode in one federation, over TLS with node authentication."""

from __future__ import annotations

import json
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

import psutil
import pytest
from tests.federation.participants import (
    devices,
    make_federation,
    participant,
    rounds_run,
    started,
    tegu,
    wait_until,
)
from tests.federation.plain import reptile_rounds
from tests.federation.tiny import bundle, flower_processes, looped_engine, population

from tegu.client.participant import ParticipantState
from tegu.core.bundle.file import Bundle, read_bundle
from tegu.core.data.tree import max_difference
from tegu.core.sampling.episode import EpisodeRule
from tegu.server.training.outer_optimiser import OuterRule
from tegu.server.training.plan import CohortPlan, TrainingPlan, UpdatePlan
from tegu.sim.training.in_process import train_in_process
from tegu.sim.training.on_ray import write_partitions

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("superlink")]

NODES = ("phone-0", "phone-1", "node-2")
PEOPLE = population(3, seed=4)
PLAN = TrainingPlan(
    rounds=6,
    seed=5,
    cohort=CohortPlan(3, 3),
    outer=OuterRule("SGD", 0.8),
    episodes=EpisodeRule(2, 6, 4),
    updates=UpdatePlan(clip=0.4),
)
RUN = """rounds = 6
cohort = 3
quorum = 3
oversampling = 1.0
seed = 5
outer = "SGD"
outer-lr = 0.8
min-support = 2
max-support = 6
max-query = 4
clip = 0.4
calibration-share = 0.0"""


class Ran(NamedTuple):
    """What was seen of the federation."""

    folder: Path
    before: tuple[ParticipantState, ParticipantState]
    away: tuple[ParticipantState, ParticipantState]
    after: tuple[ParticipantState, ParticipantState]
    refused: str
    faults: list[str]

    @property
    def bundle(self) -> Bundle:
        return read_bundle(self.folder / "out/init.tegu")


def kill_superlink(folder: Path) -> None:
    """SIGKILL of the SuperLink that the federation in the folder has started."""
    for each in flower_processes(folder):
        with suppress(psutil.Error):
            if "tegu.server.serving.gate" in " ".join(each.cmdline()):
                each.kill()
                return
    raise AssertionError("no SuperLink runs")


@pytest.fixture(scope="module")
def ran(tmp_path_factory: pytest.TempPathFactory) -> Ran:
    """A run in which the SuperLink is killed, and a participant is stopped and started again."""
    folder = tmp_path_factory.mktemp("participants")
    server = make_federation(folder, NODES, RUN)
    write_partitions(folder / "rows", PEOPLE, 3)
    assert min(PEOPLE.counts) > 3, "every user must take part"
    with devices(PEOPLE, folder, (0, 1)) as people:
        first, second = (
            participant(own, server, folder, key, user=str(PEOPLE.users[number]))
            for number, (own, key) in enumerate(zip(people, NODES, strict=False))
        )
        with first, second:
            wait_until(lambda: first.state.status == second.state.status == "unreachable")
            away = first.state, second.state
            with started(folder, "serve", "serve", "federation.toml") as serving:
                wait_until(lambda: first.state.status == "refused")
                refused = first.state.why
                tegu(folder, "nodes", "add", "federation.toml", *(f"keys/{name}.pub" for name in NODES))
                wait_until(lambda: first.state.status == second.state.status == "connected")
                before = first.state, second.state
                with started(folder, "join", "join", "federation.toml", "--key", "keys/node-2", "--data", "rows/2.npz"):
                    wait_until(lambda: rounds_run(folder) >= 1)
                    kill_superlink(folder)
                    wait_until(lambda: rounds_run(folder) >= 3)
                    assert second.stop()
                    second.start()
                    wait_until(lambda: serving.poll() is not None, 240)
        after = first.state, second.state
    return Ran(folder, before, away, after, refused, ["SuperLink", "participant"])


def test_the_result_is_that_of_supernodes(ran: Ran) -> None:
    expected = train_in_process(looped_engine(), PEOPLE, bundle().meta, PLAN)
    assert max_difference(ran.bundle.meta, expected.meta) < 1e-5
    assert max_difference(ran.bundle.meta, reptile_rounds(bundle().meta, PEOPLE, PLAN).meta) < 1e-5
    assert max_difference(ran.bundle.meta, bundle().meta) > 0.05


def test_every_round_has_all_three(ran: Ran) -> None:
    rounds = json.loads((ran.folder / "out/rounds.json").read_text())
    assert [(each["round"], len(each["nodes"])) for each in rounds["log"]] == [(number, 3) for number in range(1, 7)]
    assert rounds["refused"] == {}


def test_a_participant_waits_for_the_server_and_for_its_registration(ran: Ran) -> None:
    assert all(state.status == "unreachable" and state.last_contact is None for state in ran.away)
    assert "RefusedError" in ran.refused
    assert all(state.rounds == 0 for state in ran.before)


def test_a_participant_says_what_it_has_done(ran: Ran) -> None:
    first, second = ran.after
    assert first.status == second.status == "stopped"
    assert first.rounds >= 6
    assert 0 < second.rounds < first.rounds, "it counts from its start"
    assert first.bytes_today > 6 * 2 * sum(array.nbytes for array in bundle().meta.values())
    assert first.last_contact is not None
    assert first.seconds > 0, "how long it takes is measured elsewhere: other tests run beside this one"
    assert first.last_refusal == ""
