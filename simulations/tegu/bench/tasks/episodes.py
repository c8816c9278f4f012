"""The support and query of a user in a round, for peers that have no such notion."""

from __future__ import annotations

from tegu.bench.tasks.task import TaskSettings
from tegu.core.data.batch import Array
from tegu.core.sampling.episode import Episode, draw_episode, episode_key

__all__ = ["episode_in_round"]


def episode_in_round(settings: TaskSettings, round_number: int, user: str, x: Array, y: Array) -> Episode:
    """The same rows as Tegu draws in that round (counted from 1) with seed 0."""
    return draw_episode(x, y, settings.episodes, episode_key(0, round_number, user))
