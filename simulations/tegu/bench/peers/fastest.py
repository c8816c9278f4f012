"""Torch on one thread or on all, whichever does a task sooner."""

from __future__ import annotations

import torch

from tegu.bench.peers.ready import Ready, Repeat

__all__ = ["on_fastest_threads"]


def on_fastest_threads(repeat: Repeat, name: str) -> Ready:
    """Try both, twice each, and stay with the faster."""
    seconds = {}
    for threads in dict.fromkeys((torch.get_num_threads(), 1)):
        torch.set_num_threads(threads)
        repeat()
        seconds[threads] = repeat().seconds
    best = min(seconds, key=seconds.__getitem__)
    torch.set_num_threads(best)
    tried = ", ".join(f"{threads} took {found:.3g} s" for threads, found in seconds.items())
    return Ready(repeat, f"{name}, torch {torch.__version__} on {best} thread(s): {tried}")
