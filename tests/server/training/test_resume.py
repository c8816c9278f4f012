"""A resumed run gives the same bits as an uninterrupted one, also after `kill -9`."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from tests.client.graphs import linear_bundle
from tests.server.fake import FunctionGrid, random_tree, run_rounds, same_bits
from tests.server.training.test_strategy import META, sums

from tegu.core.bundle.file import read_bundle, write_bundle
from tegu.core.data.tree import Tree
from tegu.server.training.checkpoint import latest_checkpoint
from tegu.server.training.outer_optimiser import OuterOptimiser, OuterRule
from tegu.server.training.plan import CohortPlan, TrainingPlan
from tegu.server.training.strategy import MetaStrategy

REPOSITORY = Path(__file__).resolve().parents[2]
# Trains a linear regression with checkpoints in argv[2] and sleeps argv[4] seconds after each round.
TRAIN = """
import sys, time
from pathlib import Path
import numpy as np
from tegu.core.bundle.file import read_bundle, write_bundle
from tegu.sim.engine import Engine
from tegu.sim.engine.onnx_looped import OnnxLooped
from tegu.sim.data.population import Population
from tegu.sim.training.in_process import train_in_process
from tegu.server.training.outer_optimiser import OuterRule
from tegu.server.training.plan import CohortPlan, TrainingPlan, UpdatePlan
from tegu.server.progress import Silent
from dataclasses import replace

start, folder, result, pause = Path(sys.argv[1]), Path(sys.argv[2]), Path(sys.argv[3]), float(sys.argv[4])
bundle = read_bundle(start)
rng = np.random.default_rng(0)
x, y = rng.normal(size=(80, 3)).astype(np.float32), rng.normal(size=(80, 1)).astype(np.float32)
population = Population.from_arrays(x, y, np.arange(80) % 10, bundle.manifest.spec)
plan = TrainingPlan(
    rounds=12, seed=5, cohort=CohortPlan(4), outer=OuterRule("Adam", 0.05, averaged=True), updates=UpdatePlan(clip=3.0)
)

class Slow(Silent):
    def round(self, progress):
        print(progress.round, flush=True)
        time.sleep(pause)

engine = Engine(OnnxLooped(bundle.graphs), bundle.manifest)
trained = train_in_process(engine, population, bundle.meta, plan, checkpoints=folder, progress=Slow())
write_bundle(result, replace(bundle, meta=trained.meta))
"""


@pytest.mark.parametrize(
    "rule", [OuterRule("SGD", 0.1, decay=True), OuterRule("Adam", 0.1, averaged=True), OuterRule("Lamb", 0.1)]
)
@pytest.mark.parametrize("stopped_at", [1, 4])
def test_a_resumed_run_equals_the_uninterrupted_one(rule: OuterRule, stopped_at: int, tmp_path: Path) -> None:
    """Same cohorts, which are drawn by the number of the round, same optimiser state, same bits."""
    plan = TrainingPlan(seed=1, cohort=CohortPlan(3))

    def grid() -> FunctionGrid:
        return FunctionGrid({number: sums(number) for number in range(8)})

    def rounds(outer: OuterOptimiser, done: int, more: int, folder: Path | None) -> list[list[int]]:
        nodes = grid()
        run_rounds(MetaStrategy(outer, plan, checkpoints=folder, done=done), nodes, outer.meta, more)
        return nodes.cohorts

    whole = OuterOptimiser(META, rule, 6)
    cohorts = rounds(whole, 0, 6, None)

    resumed_cohorts = rounds(OuterOptimiser(META, rule, 6), 0, stopped_at, tmp_path)
    checkpoint = latest_checkpoint(tmp_path)
    assert checkpoint is not None
    resumed = OuterOptimiser(checkpoint.meta, rule, 6)
    resumed.restore(checkpoint.outer)
    resumed_cohorts += rounds(resumed, checkpoint.round, 6 - stopped_at, tmp_path)
    assert resumed_cohorts == cohorts
    assert same_bits(resumed.meta, whole.meta)


def train(tmp_path: Path, name: str, pause: float = 0.0) -> subprocess.Popen[str]:
    start = tmp_path / "start.tegu"
    if not start.exists():
        write_bundle(start, linear_bundle())
    arguments = [start, tmp_path / f"{name}-checkpoints", tmp_path / f"{name}.tegu", pause]
    command = [sys.executable, "-c", TRAIN, *map(str, arguments)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=REPOSITORY)


def finished(process: subprocess.Popen[str]) -> list[int]:
    """The rounds that a process has printed, after it has ended successfully."""
    out, error = process.communicate(timeout=120)
    assert process.returncode == 0, error
    return [int(line) for line in out.split()]


def meta_of(path: Path) -> Tree:
    return read_bundle(path).meta


def test_a_killed_run_can_be_resumed(tmp_path: Path) -> None:
    """The run is killed at any point of a round, is started again, and gives the result of an undisturbed run."""
    undisturbed = train(tmp_path, "whole")
    killed = train(tmp_path, "killed", pause=0.2)
    assert killed.stdout is not None
    while killed.stdout.readline() != "3\n":
        assert killed.poll() is None
    time.sleep(0.05)
    killed.send_signal(signal.SIGKILL)
    killed.communicate()
    assert killed.returncode == -signal.SIGKILL
    assert not (tmp_path / "killed.tegu").exists()

    printed = finished(train(tmp_path, "killed"))
    assert finished(undisturbed) == list(range(1, 13))
    assert printed == list(range(4, 13))
    assert same_bits(meta_of(tmp_path / "killed.tegu"), meta_of(tmp_path / "whole.tegu"))
    assert not same_bits(meta_of(tmp_path / "whole.tegu"), meta_of(tmp_path / "start.tegu"))


def test_same_bits_detects_differences() -> None:
    """The tests above depend on it."""
    tree = random_tree(0)
    assert same_bits(tree, {name: value.copy() for name, value in tree.items()})
    assert not same_bits(tree, {**tree, "scale": tree["scale"] + 1e-6})
    assert not same_bits({"z": META["scale"] * 0}, {"z": META["scale"] * -0.0})
