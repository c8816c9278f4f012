"""A classifier of 67 parameters, compiled once per session, and users with random rows."""

from __future__ import annotations

from contextlib import suppress
from functools import cache
from pathlib import Path

import numpy as np
import psutil
from torch import nn

from tegu.compile import make_bundle
from tegu.core.bundle.file import Bundle
from tegu.core.data.spec import Spec
from tegu.learners import Learner, reptile
from tegu.sim.data.population import Population
from tegu.sim.engine import Engine, make_engine
from tegu.sim.engine.onnx_looped import OnnxLooped

SPEC = Spec.classification((4,), 3)


@cache
def learner() -> Learner:
    model = nn.Sequential(nn.Linear(4, 8), nn.Tanh(), nn.Linear(8, 3))
    return reptile(model, SPEC, steps=3, lr=0.3, init="fresh")


@cache
def bundle() -> Bundle:
    return make_bundle(learner(), learner().init(0))


@cache
def batched_engine() -> Engine:
    return make_engine(learner(), bundle().graphs)


def looped_engine() -> Engine:
    return Engine(OnnxLooped(bundle().graphs), bundle().manifest, learner().execution)


def population(users: int, seed: int = 0) -> Population:
    """Users with 3 to 12 rows each. Their names have different lengths."""
    rng = np.random.default_rng(seed)
    names = np.repeat([f"user-{10 ** (i % 3) * (i + 1)}" for i in range(users)], rng.integers(3, 13, users))
    x = rng.normal(size=(len(names), 4)).astype(np.float32)
    return Population.from_arrays(x, rng.integers(0, 3, len(names)), names, SPEC)


def again_and_again(users: int, columns: frozenset[str]) -> Population:
    """Users who repeat at most a dozen different rows, in sessions or in order of time or both."""
    rng = np.random.default_rng(len(columns))
    user = np.repeat(np.arange(users), rng.integers(1, 20, users))
    kinds = rng.normal(size=(users, 12, 4)).astype(np.float32)
    x = kinds[user, rng.integers(0, 12, len(user))]
    times = {"group": np.arange(len(user)) // 3, "order": np.arange(len(user)) // 2}
    return Population.from_arrays(
        x, rng.integers(0, 3, len(user)), user, SPEC, **{name: times[name] for name in columns}
    )


def flower_processes(workdir: Path) -> set[psutil.Process]:
    """Running processes whose Flower folder is below `workdir`, and their descendants."""
    found: set[psutil.Process] = set()
    for process in psutil.process_iter():
        with suppress(psutil.Error):
            if str(workdir.resolve()) in process.environ().get("FLWR_HOME", ""):
                found |= {process, *process.children(recursive=True)}
    return found


def running(processes: set[psutil.Process]) -> list[str]:
    """The command lines of the processes that still run. Zombies do not run."""
    lines = []
    for process in processes:
        with suppress(psutil.NoSuchProcess):
            if process.is_running() and process.status() != psutil.STATUS_ZOMBIE:
                lines.append(" ".join(process.cmdline()))
    return lines
