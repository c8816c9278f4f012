"""What a user waits for: the default `simulate` of a small convolutional network, against a plain torch loop.

    default    100 people with 60 to 200 pictures each; everything from the module to the bundle

Tegu compiles, trains the kept initialisation and those of the folds, validates, and calibrates. The loop trains the
same rounds once and tries the same candidates on the same number of people. Times are processor seconds of a whole
run, on all cores. A run has 60 rounds, fewer than by default, so that what does not depend on their number weighs more.
"""

from __future__ import annotations

import time
from dataclasses import replace

import torch

from tegu.bench.harness.comparison import Comparison
from tegu.bench.harness.options import BenchmarkOptions, select_names
from tegu.bench.peers.torch_default import PlainLoop, fastest_way, standardised
from tegu.bench.tasks.handwriting import build_small_cnn, handwriting
from tegu.server.progress import SILENT
from tegu.server.training.plan import TrainingPlan
from tegu.sim.data.population import Population
from tegu.sim.simulation import simulate

__all__ = ["bench_default"]

_PEOPLE, _ROUNDS, _COHORT = 100, 60, 32
_SEED = 0


def bench_default(options: BenchmarkOptions) -> list[Comparison]:
    """Compare whole runs, pair by pair.

    Raises:
        UnknownNameError: no task has that name.
    """
    select_names("task", ("default",), options.tasks)
    return [compare_runs(handwriting(_PEOPLE), _ROUNDS, _COHORT, options)]


def compare_runs(population: Population, rounds: int, cohort: int, options: BenchmarkOptions) -> Comparison:
    """Compare `options.pairs` runs of `simulate` with as many of the plain loop."""
    ours, theirs = list[float](), list[float]()
    for pair in range(options.pairs):
        ours.append(_tegu(population, rounds, cohort))
        theirs.append(_plain_loop(population, rounds, cohort))
        options.log(f"default, pair {pair + 1}: tegu {ours[-1]:.1f} s, torch {theirs[-1]:.1f} s")
    return Comparison("default", "torch-loop", "time", "s", ours, theirs)


def _tegu(population: Population, rounds: int, cohort: int) -> float:
    torch.manual_seed(_SEED)
    model = build_small_cnn()
    began = time.process_time()
    simulate(population, model, rounds=rounds, cohort=cohort, progress=SILENT)
    return time.process_time() - began


def _plain_loop(population: Population, rounds: int, cohort: int) -> float:
    users = population.split(0, crossed=True).train  # as many as train and calibrate in a run with folds
    users = replace(users, x=standardised(users))

    def loop(threads: int) -> PlainLoop:
        torch.manual_seed(_SEED)
        return PlainLoop(build_small_cnn(), users, cohort, threads)

    before = torch.get_num_threads()
    try:
        chosen = loop(fastest_way(loop))
        began = time.process_time()
        chosen.train(rounds)
        chosen.try_candidates(TrainingPlan().calibration.ks)
        return time.process_time() - began
    finally:
        torch.set_num_threads(before)
