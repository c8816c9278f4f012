"""What a user waits for: the default `simulate` of a small convolutional network, against a plain torch loop.

    default    100 people with 60 to 200 pictures each; everything from the module to the bundle

Tegu compiles, trains the kept initialisation and those of the folds, validates, and calibrates. The loop then trains
as many rounds as were kept, with as many people a round, once, and tries the same candidates on the same number of
people. Times are processor seconds of a whole run, on all cores.
"""

from __future__ import annotations

import time
from dataclasses import replace
from typing import NamedTuple

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

_PEOPLE = 100
_SEED = 0


class _Spent(NamedTuple):
    """Processor seconds of a run of Tegu, and the rounds and people per round of its kept initialisation."""

    seconds: float
    rounds: int
    cohort: int


def bench_default(options: BenchmarkOptions) -> list[Comparison]:
    """Compare whole runs, pair by pair.

    Raises:
        UnknownNameError: no task has that name.
    """
    select_names("task", ("default",), options.tasks)
    return [compare_runs(handwriting(_PEOPLE), options)]


def compare_runs(population: Population, options: BenchmarkOptions) -> Comparison:
    """Compare `options.pairs` runs of `simulate` with as many of the plain loop."""
    ours, theirs = list[float](), list[float]()
    for pair in range(options.pairs):
        spent = _tegu(population)
        ours.append(spent.seconds)
        theirs.append(_plain_loop(population, spent.rounds, spent.cohort))
        options.log(
            f"default, pair {pair + 1}: tegu {ours[-1]:.1f} s, torch {theirs[-1]:.1f} s; {spent.rounds} rounds of "
            f"{spent.cohort} people"
        )
    return Comparison("default", "torch-loop", "time", "s", ours, theirs)


def _tegu(population: Population) -> _Spent:
    torch.manual_seed(_SEED)
    model = build_small_cnn()
    began = time.process_time()
    run = simulate(population, model, progress=SILENT)
    spent = time.process_time() - began
    training = run.bundle.manifest.training
    return _Spent(spent, training["rounds"], training["cohort"])


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
