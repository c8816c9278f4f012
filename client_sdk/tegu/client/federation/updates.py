"""The device's part in a training round: the sum of its users' updates, computed by the inference runtime."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from tegu.client.runtimes.onnx_runtime import OnnxRuntime
from tegu.core.data.tree import Tree, add, clip, norm, zeros_like
from tegu.core.data.users import LocalUser
from tegu.core.errors import PopulationError
from tegu.core.sampling.episode import EpisodeRule, draw_episode, draw_users, episode_key, episode_noise
from tegu.core.sampling.leakage import units_of_user

__all__ = ["SummedUpdates", "sum_of_updates"]


class SummedUpdates(NamedTuple):
    """The sum of users' clipped updates.

    Attributes:
        update: the sum.
        users: number of users in it.
        within: number of users whose update needed no clipping.
        rows: number of rows that the users' episodes have, support and query together.
    """

    update: Tree
    users: int
    within: int
    rows: int


def sum_of_updates(
    runtime: OnnxRuntime,
    meta: Tree,
    users: Sequence[LocalUser],
    *,
    seed: int,
    round_number: int,
    clip_norm: float,
    episodes: EpisodeRule,
    users_per_node: int = 0,
    noise: int = 0,
    private: bool = False,
) -> SummedUpdates:
    """The sum of users' clipped updates.

    Users whose rows do not allow a support and a query are skipped.

    Args:
        runtime: holds the `update` graph.
        meta: what the server sent.
        users: of this node.
        seed: of the run.
        round_number: from 1. Seed, round and user name determine the episode.
        clip_norm: largest norm of one user's update.
        episodes: sizes of support and query.
        users_per_node: number of users that take part, drawn by seed and round; 0 for all of them.
        noise: length of the noise that the learner draws per user (`Manifest.noise`). Seed, round and user name
            determine it.
        private: whether a user whose update is not finite has zeros in its place, so that nobody's numbers decide
            whether the others' count.

    Raises:
        PopulationError: no user has enough rows.
        RuntimeFailure: the graph cannot be run.
    """
    total, participants, within, rows = None, 0, 0, 0
    chosen = [users[index] for index in draw_users(len(users), users_per_node, seed, round_number)]
    for user in chosen:
        units = units_of_user(user)
        if units.max_support[0] < episodes.min_support:
            continue
        key = episode_key(seed, round_number, user.user)
        episode = draw_episode(user.x, user.y, episodes, key, units)
        (drawn,) = episode_noise(noise, np.asarray([key], np.uint64))
        found = runtime.update(meta, *episode, drawn)
        if private and not math.isfinite(norm(found)):
            found = zeros_like(found)
        update = clip(found, clip_norm)
        total, participants = update if total is None else add(total, update), participants + 1
        within, rows = within + (norm(found) <= clip_norm), rows + sum(len(part.mask) for part in episode)
    if total is None:
        raise PopulationError(
            f"none of {len(chosen)} users has more than {episodes.min_support} rows: "
            "collect more, or lower min_support (rows with equal x, group or order stay together)"
        )
    return SummedUpdates(total, participants, within, rows)
