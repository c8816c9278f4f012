"""Run torch with all threads or with one, whichever is faster at that moment.

On two threads torch is faster for large models, but ten times slower when another process needs a core.
"""

from __future__ import annotations

from collections.abc import Callable

import torch

from tegu.bench.peers.prepared_task import PreparedTask, TimedRun

__all__ = ["with_fastest_threads"]


def with_fastest_threads(run: Callable[[int], TimedRun], rounds: int, name: str) -> PreparedTask:
    """A task that times one round with each number of threads before every repetition, and uses the faster.

    Args:
        run: runs the given number of rounds.
        rounds: rounds of a repetition.
        name: the peer's name, with its version.
    """
    thread_counts = tuple(dict.fromkeys((torch.get_num_threads(), 1)))

    def repeat() -> TimedRun:
        fastest = min(thread_counts, key=lambda threads: _run_with(threads, run, 1).seconds)
        return _run_with(fastest, run, rounds)

    tried = " and ".join(str(threads) for threads in thread_counts)
    return PreparedTask(repeat, f"{name}, torch {torch.__version__}, the faster of {tried} thread(s) each time")


def _run_with(threads: int, run: Callable[[int], TimedRun], rounds: int) -> TimedRun:
    torch.set_num_threads(threads)
    return run(rounds)
