"""Torch on all threads and on one, whichever is the faster just then.

On two threads torch is the quicker for large models, and ten times slower as soon as somebody else wants a core.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from tegu.bench.peers.prepared_task import Done, Ready

__all__ = ["with_fastest_threads"]


def with_fastest_threads(run: Callable[[int], Done], rounds: int, name: str) -> Ready:
    """A side that tries both for a round before every repetition, and does all rounds with the faster.

    Args:
        run: does so many rounds.
        rounds: of a repetition.
        name: of the side, with its version.
    """
    ways = tuple(dict.fromkeys((torch.get_num_threads(), 1)))

    def repeat() -> Done:
        best = min(ways, key=lambda threads: _on(threads, run, 1).seconds)
        return _on(best, run, rounds)

    tried = " and ".join(str(threads) for threads in ways)
    return Ready(repeat, f"{name}, torch {torch.__version__}, the faster of {tried} thread(s) each time")


def _on(threads: int, run: Callable[[int], Done], rounds: int) -> Done:
    torch.set_num_threads(threads)
    return run(rounds)
