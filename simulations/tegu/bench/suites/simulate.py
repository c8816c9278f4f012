"""Users a second in simulation: Tegu's cohort engine, and the same training by others.

    W1  100 users of 10 rows, MLP           pfl, flower-ray, jax-vmap
    W2  20 users of 20 pictures, CNN        pfl
    W3  100 users' film clicks, ranking     pfl
    W4  100 users of 5 to 300 rows, MLP     pfl

A time is seconds a round, with the server's step and without loading and compiling.
"""

from __future__ import annotations

from tegu.bench.harness.comparison import Comparison
from tegu.bench.harness.options import Request
from tegu.bench.harness.run_benchmark import Contest, compare
from tegu.bench.peers.catalogue import SIMULATION
from tegu.bench.tasks.catalogue import SIMULATED

__all__ = ["bench_simulate"]


def bench_simulate(request: Request) -> list[Comparison]:
    """Compare simulators; see `tegu.bench.harness.run_benchmark.compare`."""
    contest = Contest(
        works=SIMULATED,
        module="tegu.bench.peers.tegu_simulate",
        peers=SIMULATION,
        prepare=lambda task, folder: None,
        units=lambda task: task.work.rounds,
        memory=True,
    )
    return compare(contest, request)
