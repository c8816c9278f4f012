"""The support and query that a round draws for a user, for peers that have no such notion themselves."""

from __future__ import annotations

from tegu.bench.tasks.task import Work
from tegu.core.data.batch import Array
from tegu.core.sampling.episode import Episode, draw_episode, episode_key

__all__ = ["episode_in_round"]


def episode_in_round(work: Work, number: int, user: str, x: Array, y: Array) -> Episode:
    """The same rows as in Tegu's round `number` (from 1) under seed 0, which every substrate of Tegu agrees on."""
    return draw_episode(x, y, work.rule, episode_key(0, number, user))
