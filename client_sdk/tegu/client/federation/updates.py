"""Taking part in training: this device's users' updates for one round, summed, on the inference runtime."""

from __future__ import annotations

from collections.abc import Sequence

from tegu.client.runtimes.onnx_runtime import OnnxRuntime
from tegu.core.data.tree import Tree, add, clip
from tegu.core.data.users import LocalUser
from tegu.core.errors import PopulationError
from tegu.core.sampling.episode import EpisodeRule, draw_episode, draw_users, episode_key
from tegu.core.sampling.leakage import row_units_of

__all__ = ["sum_of_updates"]


def sum_of_updates(
    runtime: OnnxRuntime,
    meta: Tree,
    users: Sequence[LocalUser],
    *,
    seed: int,
    round_number: int,
    limit: float,
    rule: EpisodeRule,
    asked: int = 0,
) -> tuple[Tree, int]:
    """The sum over users of their clipped updates, and how many users took part.

    Users with too few rows for a support and a query stay out, as do those whose rows cannot be parted.

    Args:
        runtime: holds the `update` graph.
        meta: what the server sent.
        users: whose rows these are.
        seed: of the run.
        round_number: from 1; with `seed` and the user's name it decides the episode.
        limit: largest norm of one user's update.
        rule: how much becomes support and query.
        asked: how many of the users take part, drawn by seed and round; 0 for all of them.

    Raises:
        PopulationError: no user has enough rows.
        RuntimeFailure: the graph cannot be run.
    """
    total, taking_part = None, 0
    chosen = [users[place] for place in draw_users(len(users), asked, seed, round_number)]
    for user in chosen:
        ties = row_units_of(user.x, user.group, user.order)
        if ties.max_support[0] < rule.min_support:
            continue
        episode = draw_episode(user.x, user.y, rule, episode_key(seed, round_number, user.user), ties)
        update = clip(runtime.update(meta, *episode), limit)
        total, taking_part = update if total is None else add(total, update), taking_part + 1
    if total is None:
        raise PopulationError(
            f"none of {len(chosen)} users has more than {rule.min_support} rows: collect more, or lower min_support "
            "(rows of equal x, group or moment are not parted)"
        )
    return total, taking_part
