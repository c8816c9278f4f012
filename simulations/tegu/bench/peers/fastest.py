"""Torch on all threads and on one, whichever does a task sooner.

Tried anew in every repetition: on two threads torch is the quicker for large models, and ten times slower as soon as
somebody else wants the second core.
"""

from __future__ import annotations

import torch

from tegu.bench.peers.ready import Done, Ready, Repeat

__all__ = ["on_fastest_threads"]


def on_fastest_threads(repeat: Repeat, name: str) -> Ready:
    """A side that does every repetition both ways and counts the faster."""
    ways = tuple(dict.fromkeys((torch.get_num_threads(), 1)))

    def fastest() -> Done:
        return min((_on(threads, repeat) for threads in ways), key=lambda done: done.seconds)

    tried = " and ".join(str(threads) for threads in ways)
    return Ready(fastest, f"{name}, torch {torch.__version__}, the faster of {tried} thread(s) each time")


def _on(threads: int, repeat: Repeat) -> Done:
    torch.set_num_threads(threads)
    return repeat()
