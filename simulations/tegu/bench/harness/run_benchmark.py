"""Run each task of a benchmark with Tegu and every peer that supports it, in alternating pairs."""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from tegu.bench.harness.agreement import check_agreement, loss_curve
from tegu.bench.harness.comparison import Comparison
from tegu.bench.harness.environment import PeerMissingError, cache_folder, python_for
from tegu.bench.harness.options import BenchmarkOptions, select_names
from tegu.bench.harness.paired_runs import PairedRuns, run_pairs
from tegu.bench.harness.worker_handle import Repetition, Worker, start_worker
from tegu.bench.peers.catalogue import Peer
from tegu.bench.tasks.task import Task, write_task
from tegu.core.errors import MissingExtraError

__all__ = ["BenchmarkSetup", "run_benchmark"]


@dataclass(frozen=True)
class BenchmarkSetup:
    """What a benchmark compares.

    Attributes:
        tasks: functions that build each task, by name.
        module: Tegu's implementation, see `tegu.bench.peers`.
        peers: the implementations to compare with.
        write_files: writes further files that implementations read into the task's folder.
        units: number of units of work in one repetition of a task; times are divided by it.
        memory: whether to compare peak memory too.
    """

    tasks: Mapping[str, Callable[[], Task]]
    module: str
    peers: Sequence[Peer]
    write_files: Callable[[Task, Path], None]
    units: Callable[[Task], int]
    memory: bool = False


def run_benchmark(setup: BenchmarkSetup, options: BenchmarkOptions) -> list[Comparison]:
    """Run a benchmark. It logs which peers and tasks are not installed, and leaves them out.

    Raises:
        UnknownNameError: a requested task or peer is not in the setup.
        RuntimeFailure: a worker fails, or the two of a pair do not do the same work.
    """
    tasks = select_names("task", setup.tasks, options.tasks)
    names = select_names("peer", [peer.name for peer in setup.peers], options.peers)
    requested = [peer for peer in setup.peers if peer.name in names and set(peer.tasks) & set(tasks)]
    installed = [(peer, python) for peer in requested if (python := _python(peer, options)) is not None]
    return [row for name in tasks for row in _run_task(setup, name, installed, options)]


def _python(peer: Peer, options: BenchmarkOptions) -> Path | None:
    try:
        return python_for(peer, install=options.install, cache=cache_folder(), log=options.log)
    except PeerMissingError as missing:
        options.log(f"{missing}. Its rows are left out.")
        return None


def _run_task(
    setup: BenchmarkSetup, name: str, peers: Sequence[tuple[Peer, Path]], options: BenchmarkOptions
) -> list[Comparison]:
    able = [(peer, python) for peer, python in peers if name in peer.tasks]
    if not able:
        return []
    try:
        task = setup.tasks[name]()
    except MissingExtraError as missing:
        options.log(f"{name} is left out: {missing}")
        return []
    with tempfile.TemporaryDirectory(prefix="tegu-bench-") as temporary:
        folder = Path(temporary)
        write_task(folder / "task", task)
        setup.write_files(task, folder / "task")
        with start_worker("tegu", Path(sys.executable), setup.module, folder / "task", folder / "tegu") as ours:
            options.log(f"{name} tegu: {ours.description}")
            rows = []
            for peer, python in able:
                with start_worker(peer.name, python, peer.module, folder / "task", folder / peer.name) as theirs:
                    options.log(f"{name} {peer.name}: {theirs.description}")
                    runs = _run_pairs(task, ours, theirs, options)
                rows += _comparisons(task, peer, runs, setup)
            return rows


def _run_pairs(task: Task, ours: Worker, theirs: Worker, options: BenchmarkOptions) -> PairedRuns:
    curve = loss_curve(task, [task.init])

    def difference(a: Repetition, b: Repetition) -> float:
        nonlocal curve
        curve = np.append(curve[:1], loss_curve(task, b.trees))
        return check_agreement(loss_curve(task, a.trees), curve[1:], theirs.name)

    runs = run_pairs(ours, theirs, options.pairs, difference)
    options.log(
        f"{task.settings.name} {theirs.name}: loss {curve[0]:.4f} -> {curve[-1]:.4f}; Tegu's losses differ by at most "
        f"{runs.largest_difference:.1e}"
    )
    return runs


def _comparisons(task: Task, peer: Peer, runs: PairedRuns, setup: BenchmarkSetup) -> list[Comparison]:
    name, units = task.settings.name, setup.units(task)
    seconds = ([repetition.seconds / units for repetition in each] for each in (runs.ours, runs.theirs))
    rows = [Comparison(name, peer.name, "time", "s", *seconds)]
    if setup.memory and peer.single_process:
        peaks = ([repetition.mebibytes for repetition in each] for each in (runs.ours, runs.theirs))
        rows.append(Comparison(name, peer.name, "memory", "MiB", *peaks))
    return rows
