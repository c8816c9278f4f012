"""A federation of `tegu serve` and three `tegu join`, whose processes are killed, and the same run undisturbed."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import NamedTuple

import psutil
from tests.federation.tiny import bundle, flower_processes, population

from tegu.core.bundle.file import write_bundle
from tegu.core.bundle.signing import new_key_pair
from tegu.core.sampling.episode import EpisodeRule
from tegu.server.deployment.environment import free_ports
from tegu.server.training.journal import read_events
from tegu.server.training.outer_optimiser import OuterRule
from tegu.server.training.plan import CohortPlan, TrainingPlan, UpdatePlan
from tegu.sim.training.on_ray import write_partitions

NODES, USERS = 3, 11
FILE = """
[server]
address = "127.0.0.1:{port}"
[run]
bundle = "start.tegu"
out = "out"
signing-key = "signing.key"
rounds = {rounds}
cohort = {nodes}
seed = 5
outer = "SGD"
outer-lr = 0.8
min-support = 3
max-support = 6
max-query = 4
clip = 0.4
calibration-share = 0.0
{run}
[node]
bundle = "start.tegu"
"""
KILLED = ("flwr-serverapp", "serving.gate", "nodes/node-1/")  # words of the victims' command lines
TEGU = [sys.executable, "-m", "tegu.cli.main"]
JOINS = [
    ("join", "federation.toml", "--key", f"keys/node-{node}", "--data", f"rows/{node}.npz") for node in range(NODES)
]


def plan(rounds: int) -> TrainingPlan:
    """The same settings for a run in this process."""
    return TrainingPlan(
        rounds=rounds,
        seed=5,
        cohort=CohortPlan(NODES, NODES),
        outer=OuterRule("SGD", 0.8),
        episodes=EpisodeRule(3, 6, 4),
        updates=UpdatePlan(clip=0.4),
    )


class Started(NamedTuple):
    """A command that runs, and the file that it writes to."""

    process: subprocess.Popen[bytes]
    log: Path

    def said(self) -> str:
        return self.log.read_text()

    def stop(self, how: signal.Signals = signal.SIGTERM) -> int:
        self.process.send_signal(how)
        return self.process.wait(60)


@contextmanager
def started(folder: Path, name: str, *arguments: str) -> Iterator[Started]:
    log = folder / f"{name}.txt"
    with log.open("ab") as out:
        process = subprocess.Popen([*TEGU, *arguments], cwd=folder, stdout=out, stderr=out)
    try:
        yield Started(process, log)
    finally:
        if process.poll() is None:
            process.terminate()
        process.wait(60)


def tegu(folder: Path, *arguments: str) -> str:
    done = subprocess.run([*TEGU, *arguments], cwd=folder, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout + done.stderr


def wait_until(reached: Callable[[], bool], seconds: float = 400) -> None:
    deadline = time.monotonic() + seconds
    while not reached():
        assert time.monotonic() < deadline, "the condition does not hold in time"
        time.sleep(0.1)


def rounds_run(folder: Path) -> int:
    return max((event["round"] for event in read_events(folder / "out/checkpoints")[0] if event["event"] == "round"),
               default=0)  # fmt: skip


def kill(folder: Path, words: str) -> str:
    """Kill the federation's oldest process whose command line holds the words; waits until there is one."""

    def is_victim(process: psutil.Process) -> bool:
        with suppress(psutil.NoSuchProcess):  # others end all the time, as a ClientApp does after each message
            return words in " ".join(process.cmdline())
        return False

    def oldest() -> psutil.Process | None:
        found = filter(is_victim, flower_processes(folder))
        return min(found, key=lambda process: process.create_time(), default=None)

    deadline = time.monotonic() + 100
    while (victim := oldest()) is None:
        assert time.monotonic() < deadline, f"no process of {words}"
        time.sleep(0.1)
    victim.kill()
    return words


def prepare(folder: Path, rounds: int, run: str = "") -> tuple[int, bytes]:
    """Everything for a federation, with more lines below `[run]`; the port, and the key that verifies the result."""
    write_bundle(folder / "start.tegu", bundle())
    write_partitions(folder / "rows", population(USERS), NODES)
    (port,) = free_ports(1)
    (folder / "federation.toml").write_text(FILE.format(port=port, rounds=rounds, nodes=NODES, run=run))
    private, public = new_key_pair()
    (folder / "signing.key").touch(0o600)
    (folder / "signing.key").write_text(private.hex())
    nodes = [word for node in range(NODES) for word in ("--node", f"node-{node}")]
    tegu(folder, "certificates", "keys", *nodes)
    return port, public


@contextmanager
def nothing_left(folder: Path) -> Iterator[None]:
    """Ends what a killed server leaves running, if the test does not come so far that the next one does."""
    try:
        yield
    finally:
        for process in flower_processes(folder):
            with suppress(psutil.NoSuchProcess):
                process.kill()
