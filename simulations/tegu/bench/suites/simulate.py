"""Speed of simulated rounds: Tegu's engine, and the same training by its peers.

    W1  100 users of 10 rows, MLP           pfl, flower-ray, jax-vmap
    W2  20 users of 20 images, CNN          pfl
    W3  100 users' film clicks, ranking     pfl
    W4  100 users of 5 to 300 rows, MLP     pfl

Times are seconds per round, including the server's step, without loading and compiling.
"""

from __future__ import annotations

from tegu.bench.harness.comparison import Comparison
from tegu.bench.harness.options import BenchmarkOptions
from tegu.bench.harness.run_benchmark import BenchmarkSetup, run_benchmark
from tegu.bench.peers.catalogue import SIMULATION_PEERS
from tegu.bench.tasks.catalogue import SIMULATION_TASKS

__all__ = ["bench_simulate"]


def bench_simulate(options: BenchmarkOptions) -> list[Comparison]:
    """Compare the time and memory of simulations; see `tegu.bench.harness.run_benchmark.run_benchmark`."""
    setup = BenchmarkSetup(
        tasks=SIMULATION_TASKS,
        module="tegu.bench.peers.tegu_simulate",
        peers=SIMULATION_PEERS,
        write_files=lambda task, folder: None,
        units=lambda task: task.settings.rounds,
        memory=True,
    )
    return run_benchmark(setup, options)
