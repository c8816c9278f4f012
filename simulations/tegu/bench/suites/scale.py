"""Populations of any size: people a second and peak memory, against the same training with ten thousand people.

Everybody is on disk; each run is a fresh process, timed without loading and compiling.
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
from tegu.bench.harness.options import Request, chosen

from tegu.bench.suites.scale_run import FEATURES, ROWS, SPEC
from tegu.core.data.users import LocalUser
from tegu.core.errors import RuntimeFailure
from tegu.core.sampling.keyed_random import keyed_rng
from tegu.sim.data.population_on_disk import write_population

__all__ = ["SIZES", "bench_scale"]

SIZES = {"users-1e3": 1_000, "users-1e4": 10_000, "users-1e5": 100_000, "users-1e6": 1_000_000}
_AGAINST = "users-1e4"


class _Cost(NamedTuple):
    seconds: float  # for each user and round
    mebibytes: float


def bench_scale(request: Request) -> list[Comparison]:
    """Compare sizes of population, in turn.

    Raises:
        UnknownNameError: a work that is none of `SIZES`.
        RuntimeFailure: a run fails.
    """
    works = [work for work in chosen("work", SIZES, request.works) if work != _AGAINST]
    found: list[Comparison] = []
    with tempfile.TemporaryDirectory() as folder:
        for work in [_AGAINST, *works]:
            request.say(f"{work}: writing {SIZES[work]:,} people")
            write_population(Path(folder) / work, SPEC, _people(SIZES[work]))
        for work in works:
            pairs = [(_run(Path(folder) / work), _run(Path(folder) / _AGAINST)) for _ in range(request.pairs)]
            peer = f"tegu-{_AGAINST}"
            times, memory = ([[each[i] for each in pair] for pair in pairs] for i in range(2))
            found += [
                Comparison(work, peer, "time", "s", *zip(*times, strict=True)),
                Comparison(work, peer, "memory", "MiB", *zip(*memory, strict=True)),
            ]
            request.say(f"{work}: {len(pairs)} pairs done")
    return found


def _people(users: int) -> Iterator[LocalUser]:
    rng = keyed_rng("bench", "scale")
    for user in range(users):
        x = rng.standard_normal((ROWS, FEATURES), dtype="float32")
        yield LocalUser(f"{user:07d}", x, (x[:, 0] > x[:, 1]).astype(int))


def _run(folder: Path) -> _Cost:
    command = [sys.executable, "-m", "tegu.bench.harness.measure", "tegu.bench.suites.scale_run", str(folder)]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=False)  # noqa: S603 # our own module
    if done.returncode:
        raise RuntimeFailure(f"the run on {folder.name} ended with exit code {done.returncode}: see what it printed")
    rate, cost = map(json.loads, done.stdout.splitlines()[-2:])
    return _Cost(1 / rate, cost["mebibytes"])
