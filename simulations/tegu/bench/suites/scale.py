"""Time and peak memory for populations of several sizes, against the same training with ten thousand users.

The populations are on disk. Each run is a new process, timed without loading and compiling.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from tegu.bench.harness.comparison import Comparison
from tegu.bench.harness.options import BenchmarkOptions, select_names
from tegu.bench.suites.scale_run import FEATURES, ROWS, SPEC
from tegu.core.data.users import LocalUser
from tegu.core.errors import RuntimeFailure
from tegu.core.sampling.keyed_random import keyed_rng
from tegu.sim.data.population_on_disk import write_population

__all__ = ["ROUNDS", "SIZES", "bench_scale"]

SIZES = {"users-1e3": 1_000, "users-1e4": 10_000, "users-1e5": 100_000, "users-1e6": 1_000_000}
_REFERENCE = "users-1e4"
ROUNDS = 1000


class _Cost(NamedTuple):
    seconds: float  # per user and round
    mebibytes: float


def bench_scale(options: BenchmarkOptions) -> list[Comparison]:
    """Compare each population size with the reference size, in alternating runs.

    Raises:
        UnknownNameError: a requested task is not in `SIZES`.
        RuntimeFailure: a run fails.
    """
    tasks = [task for task in select_names("task", SIZES, options.tasks) if task != _REFERENCE]
    comparisons: list[Comparison] = []
    with tempfile.TemporaryDirectory() as folder:
        for task in [_REFERENCE, *tasks]:
            options.log(f"{task}: writing {SIZES[task]:,} users")
            write_population(Path(folder) / task, SPEC, _random_users(SIZES[task]))
        for task in tasks:
            pairs = [(_run(Path(folder) / task), _run(Path(folder) / _REFERENCE)) for _ in range(options.pairs)]
            peer = f"tegu-{_REFERENCE}"
            times, memory = ([[each[i] for each in pair] for pair in pairs] for i in range(2))
            comparisons += [
                Comparison(task, peer, "time", "s", *zip(*times, strict=True)),
                Comparison(task, peer, "memory", "MiB", *zip(*memory, strict=True)),
            ]
            options.log(f"{task}: {len(pairs)} pairs done")
    return comparisons


def _random_users(count: int) -> Iterator[LocalUser]:
    rng = keyed_rng("bench", "scale")
    for user in range(count):
        x = rng.standard_normal((ROWS, FEATURES), dtype="float32")
        yield LocalUser(f"{user:07d}", x, (x[:, 0] > x[:, 1]).astype(int))


def _run(folder: Path) -> _Cost:
    command = [
        sys.executable,
        "-m",
        "tegu.bench.harness.measure",
        "tegu.bench.suites.scale_run",
        str(folder),
        str(ROUNDS),
    ]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=False)  # noqa: S603 # our own module
    if done.returncode:
        raise RuntimeFailure(f"the run on {folder.name} ended with exit code {done.returncode}: see its output above")
    rate, cost = map(json.loads, done.stdout.splitlines()[-2:])
    return _Cost(1 / rate, cost["mebibytes"])
