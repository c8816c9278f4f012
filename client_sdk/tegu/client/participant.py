"""Taking part in training: this device's users' updates for one round, summed, on the inference runtime."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from tegu.client.runtime_onnx import OnnxRuntime
from tegu.core.batch import Array
from tegu.core.episode import EpisodeRule, draw_episode, draw_users, episode_key
from tegu.core.errors import DataError, PopulationError
from tegu.core.spec import Spec, check_rows
from tegu.core.tree import Tree, add, clip

__all__ = ["LocalUser", "read_users", "sum_of_updates", "write_users"]


class LocalUser(NamedTuple):
    """A user whose rows are on this device; `user` is unique in the federation."""

    user: str
    x: Array
    y: Array


def write_users(path: Path, users: Sequence[LocalUser]) -> None:
    """Write users' rows as one `.npz` of `x`, `y` and `user`, without pickle."""
    names = np.concatenate([np.full(len(user.x), user.user) for user in users])
    np.savez(path, x=np.concatenate([u.x for u in users]), y=np.concatenate([u.y for u in users]), user=names)


def read_users(path: Path, spec: Spec) -> list[LocalUser]:
    """The users in a file of `write_users`, by name.

    Raises:
        DataError: the file cannot be read, or its rows do not fit `spec`.
    """
    try:
        with path.open("rb") as opened, np.load(opened, allow_pickle=False) as file:
            x, y, user = file["x"], file["y"], file["user"].astype(str)
    except Exception as error:  # numpy and zipfile raise half a dozen kinds for files that are no archive
        raise DataError(f"cannot read {path} ({error}): expected a .npz with x, y and user") from error
    x, y = check_rows(spec, x, y)
    if len(user) != len(x):
        raise DataError(f"{path} has {len(x)} rows of x and {len(user)} of user: expected as many")
    return [LocalUser(str(name), x[user == name], y[user == name]) for name in np.unique(user)]


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

    Users with too few rows for a support and a query stay out.

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
    total: Tree | None = None
    chosen = [users[place] for place in draw_users(len(users), asked, seed, round_number)]
    taking_part = [user for user in chosen if len(user.x) > rule.min_support]
    for user in taking_part:
        episode = draw_episode(user.x, user.y, rule, episode_key(seed, round_number, user.user))
        update = clip(runtime.update(meta, *episode), limit)
        total = update if total is None else add(total, update)
    if total is None:
        raise PopulationError(
            f"none of {len(chosen)} users has more than {rule.min_support} rows: collect more, or lower min_support"
        )
    return total, len(taking_part)
