"""Who belongs to a family of processes, and its end. The processes are small shells."""

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

# A child with a child of its own, and one that has left both its session and its parent.
TREE = """
sh -c 'sleep 600 & echo $! >grandchild; echo $$ >child; wait' &
(setsid sh -c 'echo $$ >orphan; exec sleep 600' &)
wait
"""
DEAF = "trap '' TERM; echo $$ >deaf; while :; do sleep 0.05; done"
POLITE = "trap 'echo asked >asked; exit 5' TERM; echo $$ >polite; while :; do sleep 0.05; done"
HEIR = "trap 'setsid sleep 600 & echo $! >heir; exit' TERM; echo $$ >dying; while :; do sleep 0.05; done"


class Home(NamedTuple):
    """A folder where shells run, with a mark for their family; every shell writes its process id into a file."""

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
        """Stop them, or fail where that goes on for ever."""
        thread = threading.Thread(target=stop_processes, args=(roots, self.mark, grace), daemon=True)
        thread.start()
        thread.join(30)
        assert not thread.is_alive(), "it does not come to an end"


@pytest.fixture
def home(tmp_path: Path) -> Iterator[Home]:
    made = Home(tmp_path, uuid.uuid4().hex, [])
    yield made
    for process in processes_in(tmp_path):  # what a failed test leaves
        with suppress(psutil.NoSuchProcess):
            process.kill()
    for shell in made.started:
        shell.wait()


def lives(pid: int) -> bool:
    return psutil.pid_exists(pid) and is_alive(psutil.Process(pid))


def test_a_family_is_the_tree_and_the_marked(home: Home) -> None:
    root = home.start(TREE)
    members = {root.pid, *map(home.pid, ("child", "grandchild", "orphan"))}
    assert {process.pid for process in process_family([root.pid], home.mark)} == members
    assert {process.pid for process in process_family([], home.mark)} == members
    assert {process.pid for process in process_family([root.pid], "another")} == members - {home.pid("orphan")}
    assert process_family([], "another") == set()


def test_stopping_leaves_nobody(home: Home) -> None:
    root = home.start(TREE)
    members = [root.pid, *map(home.pid, ("child", "grandchild", "orphan"))]
    home.stop(root.pid)
    assert [pid for pid in members if lives(pid)] == []
    assert process_family([root.pid], home.mark) == set()


def test_others_are_left_alone(home: Home) -> None:
    bystander, root = home.start("exec sleep 600", "another"), home.start(TREE)
    home.pid("orphan")
    home.stop(root.pid)
    assert lives(bystander.pid)


def test_a_process_is_asked_before_it_is_killed(home: Home) -> None:
    root = home.start(POLITE)
    home.pid("polite")
    home.stop(root.pid)
    assert (home.folder / "asked").read_text() == "asked\n"
    assert root.wait() == 5


def test_who_does_not_listen_is_killed(home: Home) -> None:
    root = home.start(DEAF)
    home.pid("deaf")
    home.stop(root.pid, grace=0.2)
    assert not lives(root.pid)
    assert root.wait() == -signal.SIGKILL


def test_who_is_born_while_the_others_end_is_stopped_too(home: Home) -> None:
    root = home.start(HEIR)
    home.pid("dying")
    home.stop(root.pid)
    assert not lives(home.pid("heir"))


def test_a_zombie_is_not_alive(home: Home) -> None:
    """Its parent is this process, which must fetch it; waiting for its end would never end."""
    root = home.start("exit 3")
    entry = psutil.Process(root.pid)
    wait_for(lambda: entry.status() == psutil.STATUS_ZOMBIE)
    assert not is_alive(entry)
    assert process_family([root.pid], home.mark) == set()
    home.stop(root.pid)
    assert root.wait() == 3
    assert not is_alive(entry)


def test_nobody_is_stopped_at_once(home: Home) -> None:
    ended = home.start("exit")
    ended.wait()
    home.stop(ended.pid)
    home.stop()
