"""A table of works, each done by Tegu and by every peer that can, in turn."""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from tegu.bench.harness.comparison import Comparison
from tegu.bench.harness.options import Request, chosen
from tegu.bench.harness.paired_runs import Duel, fight
from tegu.bench.harness.worker_handle import Repetition, Side, side
from tegu.bench.peers.catalogue import Peer

from tegu.bench.harness.agreement import difference, loss_curve
from tegu.bench.harness.environment import PeerMissingError, cache_folder, python_for
from tegu.bench.tasks.task import Task, write_task
from tegu.core.errors import MissingExtraError

__all__ = ["Contest", "compare"]


@dataclass(frozen=True)
class Contest:
    """What is compared.

    Attributes:
        works: by name, each makes its task.
        module: Tegu's side.
        peers: the others.
        prepare: writes what sides read besides the task, into the task's folder.
        units: work units of one repetition of a task: what a time is divided by.
        memory: whether the processes' memory is compared too.
    """

    works: Mapping[str, Callable[[], Task]]
    module: str
    peers: Sequence[Peer]
    prepare: Callable[[Task, Path], None]
    units: Callable[[Task], int]
    memory: bool = False


def compare(contest: Contest, request: Request) -> list[Comparison]:
    """Run a contest. Peers and works that are not installed are named, and left out.

    Raises:
        UnknownNameError: a work or peer that is not in it.
        RuntimeFailure: a side fails, or the two of a pair do not do the same work.
    """
    works = chosen("work", contest.works, request.works)
    names = chosen("peer", [peer.name for peer in contest.peers], request.peers)
    wanted = [peer for peer in contest.peers if peer.name in names and set(peer.works) & set(works)]
    found = [(peer, python) for peer in wanted if (python := _python(peer, request)) is not None]
    return [row for work in works for row in _on_work(contest, work, found, request)]


def _python(peer: Peer, request: Request) -> Path | None:
    try:
        return python_for(peer, install=request.install, cache=cache_folder(), say=request.say)
    except PeerMissingError as missing:
        request.say(f"{missing}. Its rows are left out.")
        return None


def _on_work(contest: Contest, work: str, peers: Sequence[tuple[Peer, Path]], request: Request) -> list[Comparison]:
    able = [(peer, python) for peer, python in peers if work in peer.works]
    if not able:
        return []
    try:
        task = contest.works[work]()
    except MissingExtraError as missing:
        request.say(f"{work} is left out: {missing}")
        return []
    with tempfile.TemporaryDirectory(prefix="tegu-bench-") as name:
        folder = Path(name)
        write_task(folder / "task", task)
        contest.prepare(task, folder / "task")
        with side("tegu", Path(sys.executable), contest.module, folder / "task", folder / "tegu") as ours:
            request.say(f"{work} tegu: {ours.note}")
            rows = []
            for peer, python in able:
                with side(peer.name, python, peer.module, folder / "task", folder / peer.name) as theirs:
                    request.say(f"{work} {peer.name}: {theirs.note}")
                    duel = _duel(task, ours, theirs, request)
                rows += _rows(task, peer, duel, contest)
            return rows


def _duel(task: Task, ours: Side, theirs: Side, request: Request) -> Duel:
    curve = loss_curve(task, [task.init])

    def same_work(a: Repetition, b: Repetition) -> float:
        nonlocal curve
        curve = np.append(curve[:1], loss_curve(task, b.trees))
        return difference(loss_curve(task, a.trees), curve[1:], theirs.name)

    duel = fight(ours, theirs, request.pairs, same_work)
    request.say(
        f"{task.work.name} {theirs.name}: loss {curve[0]:.4f} -> {curve[-1]:.4f}, both sides' within {duel.worst:.1e} "
        "of each other"
    )
    return duel


def _rows(task: Task, peer: Peer, duel: Duel, contest: Contest) -> list[Comparison]:
    work, units = task.work.name, contest.units(task)
    seconds = ([repetition.seconds / units for repetition in side] for side in (duel.ours, duel.theirs))
    rows = [Comparison(work, peer.name, "time", "s", *seconds)]
    if contest.memory and peer.one_process:
        peaks = ([repetition.mebibytes for repetition in side] for side in (duel.ours, duel.theirs))
        rows.append(Comparison(work, peer.name, "memory", "MiB", *peaks))
    return rows
