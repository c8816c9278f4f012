"""A federation as `tegu serve` runs it, over TLS with node authentication, with participants in this process."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any

import psutil
from tests.federation.tiny import bundle, flower_processes

from tegu.client import Personalizer
from tegu.client.federation.minimums import Minimums
from tegu.client.participant import Participant, Policy
from tegu.core.bundle.file import Bundle, write_bundle
from tegu.server.deployment.environment import free_ports
from tegu.server.training.journal import read_events
from tegu.sim.data.population import Population

TEGU = [sys.executable, "-m", "tegu.cli.main"]
QUICK = Policy(poll_seconds=0.2, idle_seconds=0.5, seed=0)
ANY = Minimums(least_rows=0)


def tegu(folder: Path, *arguments: str) -> str:
    """What a command prints. It must succeed."""
    done = subprocess.run([*TEGU, *arguments], cwd=folder, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout + done.stderr


def make_federation(folder: Path, nodes: Sequence[str], run: str, start: Bundle | None = None) -> str:
    """Write the bundle, the keys and `federation.toml` with these lines below `[run]`; the server's address."""
    write_bundle(folder / "start.tegu", bundle() if start is None else start)
    (port,) = free_ports(1)
    (folder / "federation.toml").write_text(
        f'[server]\naddress = "127.0.0.1:{port}"\n[run]\nbundle = "start.tegu"\nout = "out"\n{run}\n'
        '[node]\nbundle = "start.tegu"\nleast-rows = 0\n'
    )
    tegu(folder, "certificates", "keys", *(word for node in nodes for word in ("--node", node)))
    return f"127.0.0.1:{port}"


@contextmanager
def started(folder: Path, name: str, *arguments: str) -> Iterator[subprocess.Popen[bytes]]:
    """A command of Tegu that runs, and writes to `<name>.txt`; ended by SIGTERM, with all that it has started."""
    with (folder / f"{name}.txt").open("ab") as out:
        process = subprocess.Popen([*TEGU, *arguments], cwd=folder, stdout=out, stderr=out)
    try:
        yield process
    finally:
        if process.poll() is None:
            process.terminate()
        process.wait(60)
        for each in flower_processes(folder):
            with suppress(psutil.NoSuchProcess):
                each.kill()


def wait_until(reached: Callable[[], object], seconds: float = 120) -> None:
    """Wait until a condition holds."""
    deadline = time.monotonic() + seconds
    while not reached():
        assert time.monotonic() < deadline, "the condition does not hold in time"
        time.sleep(0.05)


def rounds_run(folder: Path) -> int:
    """Number of the last round that was run."""
    found = (event["round"] for event in read_events(folder / "out/checkpoints")[0] if event["event"] == "round")
    return max(found, default=0)


@contextmanager
def devices(
    people: Population, folder: Path, users: Sequence[int], *, agreed: bool = True
) -> Iterator[list[Personalizer]]:
    """Personalizers with the rows of these users, who have agreed to take part."""
    with ExitStack() as stack:
        made = []
        for user in users:
            personalizer = stack.enter_context(Personalizer.open(folder / "start.tegu", folder / f"user-{user}.db"))
            personalizer.observe(*people.rows(user))
            if agreed:
                personalizer.opt_in()
            made.append(personalizer)
        yield made


def participant(personalizer: Personalizer, server: str, folder: Path, key: str, **options: Any) -> Participant:
    """A participant with the key of a node."""
    defaults: Mapping[str, Any] = {"policy": QUICK, "minimums": ANY}
    files = {"ca": folder / "keys/ca.crt", "key": folder / "keys" / key}
    return Participant(personalizer, server, **{**files, **defaults, **options})
