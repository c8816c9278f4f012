"""Finding and stopping a family of processes. The processes are small shells."""

from __future__ import annotations

import os
import signal
import subprocess
import threading
import uuid
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

import psutil
import pytest
from tests.federation.process_helpers import processes_in, wait_for

from tegu.server.deployment.process_tree import MARK_VARIABLE, is_alive, process_family, stop_processes

# A child with its own child, and an orphan with its own session.
TREE = """
sh -c 'sleep 600 & echo $! >grandchild; echo $$ >child; wait' &
(setsid sh -c 'echo $$ >orphan; exec sleep 600' &)
wait
"""
IGNORES_TERM = "trap '' TERM; echo $$ >ignoring; while :; do sleep 0.05; done"
HANDLES_TERM = "trap 'echo terminated >terminated; exit 5' TERM; echo $$ >handling; while :; do sleep 0.05; done"
STARTS_CHILD_ON_TERM = (
    "trap 'setsid sleep 600 & echo $! >late_child; exit' TERM; echo $$ >dying; while :; do sleep 0.05; done"
)


class Shells(NamedTuple):
    """A folder where shells run, and the mark of their family. Every shell writes its process id to a file."""

    folder: Path
    mark: str
    started: list[subprocess.Popen[bytes]]

    def start(self, script: str, mark: str | None = None) -> subprocess.Popen[bytes]:
        environment = os.environ | {MARK_VARIABLE: mark or self.mark}
        shell = subprocess.Popen(["sh", "-c", script], cwd=self.folder, env=environment, start_new_session=True)
        self.started.append(shell)
        return shell

    def pid(self, name: str) -> int:
        path = self.folder / name
        wait_for(lambda: path.exists() and path.read_text().endswith("\n"))
        return int(path.read_text())

    def stop(self, *roots: int, grace: float = 5.0) -> None:
        """Stop the family, or fail if that does not end."""
        thread = threading.Thread(target=stop_processes, args=(roots, self.mark, grace), daemon=True)
        thread.start()
        thread.join(30)
        assert not thread.is_alive(), "stopping does not end"


@pytest.fixture
def home(tmp_path: Path) -> Iterator[Shells]:
    made = Shells(tmp_path, uuid.uuid4().hex, [])
    yield made
    for process in processes_in(tmp_path):  # left by a failed test
        with suppress(psutil.NoSuchProcess):
            process.kill()
    for shell in made.started:
        shell.wait()


def is_running(pid: int) -> bool:
    return psutil.pid_exists(pid) and is_alive(psutil.Process(pid))


def test_a_family_is_the_tree_and_the_marked_processes(home: Shells) -> None:
    root = home.start(TREE)
    members = {root.pid, *map(home.pid, ("child", "grandchild", "orphan"))}
    assert {process.pid for process in process_family([root.pid], home.mark)} == members
    assert {process.pid for process in process_family([], home.mark)} == members
    assert {process.pid for process in process_family([root.pid], "another")} == members - {home.pid("orphan")}
    assert process_family([], "another") == set()


def test_stopping_leaves_no_process(home: Shells) -> None:
    root = home.start(TREE)
    members = [root.pid, *map(home.pid, ("child", "grandchild", "orphan"))]
    home.stop(root.pid)
    assert [pid for pid in members if is_running(pid)] == []
    assert process_family([root.pid], home.mark) == set()


def test_other_processes_are_not_stopped(home: Shells) -> None:
    bystander, root = home.start("exec sleep 600", "another"), home.start(TREE)
    home.pid("orphan")
    home.stop(root.pid)
    assert is_running(bystander.pid)


def test_a_process_is_terminated_before_it_is_killed(home: Shells) -> None:
    root = home.start(HANDLES_TERM)
    home.pid("handling")
    home.stop(root.pid)
    assert (home.folder / "terminated").read_text() == "terminated\n"
    assert root.wait() == 5


def test_a_process_that_ignores_termination_is_killed(home: Shells) -> None:
    root = home.start(IGNORES_TERM)
    home.pid("ignoring")
    home.stop(root.pid, grace=0.2)
    assert not is_running(root.pid)
    assert root.wait() == -signal.SIGKILL


def test_a_process_started_during_the_stop_is_stopped_too(home: Shells) -> None:
    root = home.start(STARTS_CHILD_ON_TERM)
    home.pid("dying")
    home.stop(root.pid)
    assert not is_running(home.pid("late_child"))


def test_a_zombie_is_not_alive(home: Shells) -> None:
    """Its parent is this process, which must reap it, so waiting until the zombie disappears would never end."""
    root = home.start("exit 3")
    entry = psutil.Process(root.pid)
    wait_for(lambda: entry.status() == psutil.STATUS_ZOMBIE)
    assert not is_alive(entry)
    assert process_family([root.pid], home.mark) == set()
    home.stop(root.pid)
    assert root.wait() == 3
    assert not is_alive(entry)


def test_stopping_ended_or_no_processes_returns(home: Shells) -> None:
    ended = home.start("exit")
    ended.wait()
    home.stop(ended.pid)
    home.stop()
