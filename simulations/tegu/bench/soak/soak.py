"""The soak: a federation over TLS with node authentication, on this machine alone, and faults at random moments."""

from __future__ import annotations

import json
import math
import random
import re
import ssl
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import NamedTuple

import psutil

from tegu.bench.soak.devices import App
from tegu.bench.soak.faults import GENTLE, HARSH, OF_SERVER, inject
from tegu.bench.soak.replies import Replies, account, listening
from tegu.bench.soak.report import Memory, Soaked
from tegu.bench.soak.server import Server
from tegu.bench.soak.vandal import Vandal, not_finite
from tegu.client import Policy
from tegu.client.federation.http import Connection
from tegu.core.errors import RuntimeFailure
from tegu.server.deployment.environment import free_ports
from tegu.server.serving.certificates import make_node_key, make_server_certificate
from tegu.server.training.journal import read_events

__all__ = ["LONG", "SHORT", "SoakPlan", "soak"]

_POLL_SECONDS = 1.0
_SETTLED_SECONDS = 15.0  # a process that has just been started still imports


class SoakPlan(NamedTuple):
    """How long a soak is.

    Attributes:
        rounds: of the run.
        devices: in this process. The first declines every round, and the last sends numbers that are not finite.
        cohort: answers that a round wants. It asks 1.3 times as many devices.
        quorum: answers that a round needs.
        deadline: seconds after which a round goes on with its quorum.
        poll_seconds: between two questions of a device. With 20 devices they are most of a SuperLink's work.
        faults: kinds of faults. Each comes once, in a random order, before any comes again.
        between: least and most seconds between two faults.
        until: seconds after which there are no more faults.
        most_seconds: after which the soak fails.
    """

    rounds: int
    devices: int
    cohort: int
    quorum: int
    deadline: float
    poll_seconds: float
    faults: tuple[str, ...]
    between: tuple[float, float]
    until: float
    most_seconds: float


LONG = SoakPlan(200, 20, 8, 5, 120.0, 4.0, HARSH, (20.0, 60.0), math.inf, 7200.0)
SHORT = SoakPlan(4, 8, 7, 5, 45.0, 1.0, GENTLE, (4.0, 8.0), 60.0, 180.0)  # a busy machine takes the rest to recover


def soak(plan: SoakPlan, folder: Path, seed: int, say: Callable[[str], None]) -> Soaked:
    """Run a federation to its end while its devices and its server are killed.

    Args:
        plan: how long.
        folder: empty; for stores, keys and the server's files.
        seed: of the faults and their moments.
        say: told what happens.

    Raises:
        RuntimeFailure: the server does not start, or the run does not end in time.
    """
    address, began, chance = _prepare(folder, plan), time.monotonic(), random.Random(seed)  # noqa: S311 # of a test
    faults: list[str] = []
    memory: list[Memory] = []
    waiting: list[str] = []
    recovered = 0  # rounds that had ended when the server was last killed: it is not killed again before the next one
    with ExitStack() as stack:
        server = Server(folder)
        stack.callback(server.close)
        server.start()
        _wait(lambda: "serving at" in server.said(), 90, "the server does not start")
        _register(folder, plan.devices)
        replies = stack.enter_context(listening())
        policy = Policy(poll_seconds=plan.poll_seconds, idle_seconds=2 * plan.poll_seconds)
        apps = [App(number, folder, address, policy, refuses=number == 0) for number in range(plan.devices - 1)]
        stack.callback(_close, apps)
        stack.callback(_vandal(plan.devices - 1, folder, address, replies).close)
        _wait(lambda: "round 1 of" in server.said(), 120, "the first round does not end")
        due = time.monotonic()
        while server.ended() is None:
            if time.monotonic() - began > plan.most_seconds:
                raise RuntimeFailure(f"the soak has not ended in {plan.most_seconds:.0f} s: {server.said()[-2000:]}")
            if due <= time.monotonic() < began + plan.until:
                waiting = waiting or chance.sample(plan.faults, len(plan.faults))
                done = _rounds(server)
                kind = next((each for each in waiting if each not in OF_SERVER or done > recovered), "")
                if kind and inject(kind, chance, server, apps):
                    waiting.remove(kind)
                    recovered = done if kind in OF_SERVER else recovered
                    faults.append(kind)
                    say(f"{time.monotonic() - began:6.1f} s  {kind}")
                due = time.monotonic() + chance.uniform(*plan.between)
            chance.choice(apps).observe(1)
            memory.append(_memory(server, time.monotonic() - began))
            time.sleep(_POLL_SECONDS)
        completed = server.ended() == 0
        if not completed:
            say(server.said()[-2000:])
        seconds = time.monotonic() - began
        records = folder / "out/rounds.json"
        log = json.loads(records.read_text("utf-8"))["log"] if records.exists() else []
        lost = sum(app.lost() for app in apps)
        events, _ = read_events(folder / "out/checkpoints")
    found = account(replies.tried, replies.arrived, events)
    return Soaked(plan.rounds, log, faults, lost, found, memory, seconds, completed)


def _prepare(folder: Path, plan: SoakPlan) -> str:
    """Write the bundle, the keys and the federation's file; the server's address."""
    _run("tegu.bench.soak.start", folder, "start.tegu")
    make_server_certificate(folder / "keys")
    for number in range(plan.devices):
        make_node_key(folder / "keys", f"phone-{number}")
    address = f"127.0.0.1:{free_ports(1)[0]}"
    (folder / "federation.toml").write_text(
        f'[server]\naddress = "{address}"\n[run]\nbundle = "start.tegu"\nout = "out"\nrounds = {plan.rounds}\n'
        f"cohort = {plan.cohort}\nquorum = {plan.quorum}\ndeadline = {plan.deadline}\n"
        "calibration-share = 0.0\nvalidate-every = 0\n",
        "utf-8",
    )
    return address


def _register(folder: Path, devices: int) -> None:
    keys = [f"keys/phone-{number}.pub" for number in range(devices)]
    _run("tegu.cli.main", folder, "nodes", "add", "federation.toml", *keys)


def _run(module: str, folder: Path, *arguments: str) -> None:
    """Run a module as a program, in the folder.

    Raises:
        RuntimeFailure: it fails.
    """
    command = [sys.executable, "-m", module, *arguments]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)  # noqa: S603 # own
    if done.returncode:
        raise RuntimeFailure(f"{module} {' '.join(arguments[:2])} fails: {done.stderr[-2000:]}")


def _vandal(number: int, folder: Path, server: str, replies: Replies) -> Vandal:
    host, port = server.split(":")
    context = ssl.create_default_context(cafile=str(folder / "keys/ca.crt"))
    return Vandal(Connection(host, int(port), context, 20.0), folder / f"keys/phone-{number}", not_finite(replies))


def _close(apps: Sequence[App]) -> None:
    for app in apps:
        app.participant.stop(0.0)  # all at once
    for app in apps:
        app.close()


def _wait(reached: Callable[[], bool], seconds: float, what: str) -> None:
    deadline = time.monotonic() + seconds
    while not reached():
        if time.monotonic() > deadline:
            raise RuntimeFailure(f"{what} within {seconds:.0f} s: see serve.txt")
        time.sleep(0.2)


def _rounds(server: Server) -> int:
    """Number of the last round that the server has told of."""
    return max(map(int, re.findall(r"^round (\d+) of", server.said(), re.MULTILINE)), default=0)


def _memory(server: Server, seconds: float) -> Memory:
    def of(role: str) -> int:
        process = server.find(role)
        with suppress(psutil.Error):
            if process is not None and time.time() - process.create_time() > _SETTLED_SECONDS:
                return int(process.memory_info().rss)
        return 0

    return Memory(seconds, int(psutil.Process().memory_info().rss), of("SuperLink"), of("ServerApp"))
