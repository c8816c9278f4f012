"""From the start of a process to its first personalised prediction: Tegu's client, and the same task in torch.

Each run is a new Python process. The operating system gives its wall time and peak memory.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import NamedTuple

import numpy as np

from tegu.bench.harness.comparison import Comparison
from tegu.bench.harness.options import BenchmarkOptions
from tegu.core.bundle.file import tree_to_bytes, write_bundle
from tegu.core.data.spec import Spec
from tegu.core.errors import RuntimeFailure, require
from tegu.core.sampling.keyed_random import keyed_rng

__all__ = ["bench_start"]


class _Cost(NamedTuple):
    seconds: float
    mebibytes: float


def bench_start(options: BenchmarkOptions) -> list[Comparison]:
    """Compare starts, pair by pair. An untimed pair runs first, to warm the disk cache.

    Raises:
        MissingExtraError: torch is not installed.
        RuntimeFailure: one of the two fails, or their predictions differ.
    """
    with tempfile.TemporaryDirectory() as folder:
        data = _write_files(Path(folder))
        ours, theirs = [], []
        for pair in range(options.pairs + 1):
            tegu, torch = (_run(f"tegu.bench.suites.start_{name}", data) for name in ("tegu", "torch"))
            _check_predictions(data)
            options.log(f"pair {pair} of {options.pairs}: tegu {tegu.seconds:.3f} s, torch {torch.seconds:.3f} s")
            if pair:
                ours.append(tegu)
                theirs.append(torch)
    return [
        Comparison("start", "torch", "time", "s", [c.seconds for c in ours], [c.seconds for c in theirs]),
        Comparison("start", "torch", "memory", "MiB", [c.mebibytes for c in ours], [c.mebibytes for c in theirs]),
    ]


def _write_files(folder: Path) -> Path:
    """Write a bundle of an MLP 64-64-10, its weights alone and ten rows."""
    nn = require("torch.nn", "sim")
    from tegu.compile import make_bundle  # noqa: PLC0415 # torch
    from tegu.learners import reptile  # noqa: PLC0415 # torch

    model = nn.Sequential(nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 10))
    learner = reptile(model, Spec.classification((64,), 10), steps=10, init="fresh")
    bundle = make_bundle(learner, learner.init(0))
    write_bundle(folder / "init.tegu", bundle)
    (folder / "weights.safetensors").write_bytes(tree_to_bytes(bundle.meta))
    rng = keyed_rng("bench", "start")
    x = rng.standard_normal((10, 64)).astype(np.float32)
    np.savez(folder / "rows.npz", x=x, y=rng.integers(10, size=10))
    return folder


def _run(module: str, folder: Path) -> _Cost:
    command = [sys.executable, "-m", "tegu.bench.harness.measure", module, str(folder)]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=False)  # noqa: S603 # our own module
    if done.returncode:
        raise RuntimeFailure(f"{module} ended with exit code {done.returncode}: see its output above")
    return _Cost(**json.loads(done.stdout))


def _check_predictions(folder: Path) -> None:
    ours, theirs = np.load(folder / "tegu.npy"), np.load(folder / "torch.npy")
    largest = float(np.abs(ours - theirs).max())
    if not largest < 1e-4:
        raise RuntimeFailure(f"tegu's and torch's predictions differ by {largest:.1e}: they did not do the same work")
