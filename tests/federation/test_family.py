"""Who belongs to a family of processes, and its end. The processes are small shells."""

from __future__ import annotations

import os
import signal
import subprocess
import uuid
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

import psutil
import pytest
from tests.federation.shells import processes_in, wait_for

from tegu.sim.processes.family import MARK, alive, family, stop

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

    def start(self, script: str, mark: str | None = None) -> subprocess.Popen[bytes]:
        environment = os.environ | {MARK: mark or self.mark}
        return subprocess.Popen(["sh", "-c", script], cwd=self.folder, env=environment, start_new_session=True)

    def pid(self, name: str) -> int:
        path = self.folder / name
        wait_for(lambda: path.exists() and path.read_text().endswith("\n"))
        return int(path.read_text())


@pytest.fixture
def home(tmp_path: Path) -> Iterator[Home]:
    made = Home(tmp_path, uuid.uuid4().hex)
    yield made
    for process in processes_in(tmp_path):  # what a failed test leaves
        with suppress(psutil.NoSuchProcess):
            process.kill()


def lives(pid: int) -> bool:
    return psutil.pid_exists(pid) and alive(psutil.Process(pid))


def test_a_family_is_the_tree_and_the_marked(home: Home) -> None:
    with home.start(TREE) as root:
        members = {root.pid, *map(home.pid, ("child", "grandchild", "orphan"))}
        assert {process.pid for process in family([root.pid], home.mark)} == members
        assert {process.pid for process in family([], home.mark)} == members
        assert {process.pid for process in family([root.pid], "another")} == members - {home.pid("orphan")}
        assert family([], "another") == set()
        stop([root.pid], home.mark)


def test_stopping_leaves_nobody(home: Home) -> None:
    with home.start(TREE) as root:
        members = [root.pid, *map(home.pid, ("child", "grandchild", "orphan"))]
        stop([root.pid], home.mark)
        assert [pid for pid in members if lives(pid)] == []
    assert family([root.pid], home.mark) == set()


def test_others_are_left_alone(home: Home) -> None:
    with home.start("exec sleep 600", "another") as bystander, home.start(TREE) as root:
        home.pid("orphan")
        stop([root.pid], home.mark)
        assert lives(bystander.pid)
        bystander.kill()


def test_a_process_is_asked_before_it_is_killed(home: Home) -> None:
    with home.start(POLITE) as root:
        home.pid("polite")
        stop([root.pid], home.mark)
    assert (home.folder / "asked").read_text() == "asked\n"
    assert root.returncode == 5


def test_who_does_not_listen_is_killed(home: Home) -> None:
    with home.start(DEAF) as root:
        home.pid("deaf")
        stop([root.pid], home.mark, grace=0.2)
        assert not lives(root.pid)
    assert root.returncode == -signal.SIGKILL


def test_who_is_born_while_the_others_end_is_stopped_too(home: Home) -> None:
    with home.start(HEIR) as root:
        home.pid("dying")
        stop([root.pid], home.mark)
        assert not lives(home.pid("heir"))


def test_a_zombie_is_not_alive(home: Home) -> None:
    """Its parent is this process, which must fetch it; waiting for its end would never end."""
    process = home.start("exit 3")
    entry = psutil.Process(process.pid)
    wait_for(lambda: entry.status() == psutil.STATUS_ZOMBIE)
    assert not alive(entry)
    assert family([process.pid], home.mark) == set()
    stop([process.pid], home.mark)
    assert process.wait() == 3
    assert not alive(entry)


def test_nobody_is_stopped_at_once(home: Home) -> None:
    with home.start("exit") as ended:
        pass
    stop([ended.pid], home.mark)
    stop([], home.mark)
