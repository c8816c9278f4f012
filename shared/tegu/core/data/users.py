"""The users whose rows a node holds, and the `.npz` file that stores them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from tegu.core.data.batch import Array
from tegu.core.data.codes import ordinal_codes
from tegu.core.data.spec import Spec, check_rows
from tegu.core.errors import DataError

__all__ = ["LocalUser", "read_users", "write_users"]


class LocalUser(NamedTuple):
    """A user whose rows are on this device.

    Attributes:
        user: name, unique in the federation.
        x: `[rows, ...]`.
        y: `[rows, ...]`.
        group: `[rows]`; rows with equal entries (a session, a day) stay together. None for no groups.
        order: `[rows]`, the time of each row; the support then precedes the query. None for no order.
        balanced: whether a support holds equally many rows of each of the user's labels, as where the user gives a few
            examples of each (N-way K-shot).
    """

    user: str
    x: Array
    y: Array
    group: Array | None = None
    order: Array | None = None
    balanced: bool = False


def write_users(path: Path, users: Sequence[LocalUser]) -> None:
    """Write users' rows as one `.npz` of `x`, `y`, `user` and, where users have them, `group`, `order` and `balanced`.

    Raises:
        DataError: some users have a group or an order and others have none.
    """
    columns = {
        "x": [user.x for user in users],
        "y": [user.y for user in users],
        "user": [np.full(len(user.x), user.user) for user in users],
    }
    for name, given in (("group", [user.group for user in users]), ("order", [user.order for user in users])):
        have = [entries for entries in given if entries is not None]
        if have and len(have) < len(given):
            raise DataError(
                f"{len(have)} of {len(given)} users have a {name}: expected all of them or none; give every user one"
            )
        columns |= {name: have} if have else {}
    if any(user.balanced for user in users):
        columns["balanced"] = [np.full(len(user.x), user.balanced) for user in users]
    np.savez(path, **{name: np.concatenate(parts) for name, parts in columns.items()})  # type: ignore[arg-type] # numpy reserves some of the names


def read_users(path: Path, spec: Spec) -> list[LocalUser]:
    """The users in a file of `write_users`, sorted by name.

    Raises:
        DataError: the file cannot be read, its rows do not fit `spec`, or some row lacks a group or an order.
    """
    try:
        with path.open("rb") as opened, np.load(opened, allow_pickle=False) as file:
            x, y, user = file["x"], file["y"], file["user"].astype(str)
            given = {name: file[name] for name in ("group", "order") if name in file}
            balanced = file["balanced"].astype(bool) if "balanced" in file else np.zeros(len(user), bool)
    except Exception as error:  # numpy and zipfile raise many kinds for damaged files
        raise DataError(
            f"cannot read {path} ({error}): expected a .npz with x, y and user, as write_users makes it"
        ) from error
    x, y = check_rows(spec, x, y)
    for name, column in (("user", user), ("balanced", balanced)):
        if len(column) != len(x):
            raise DataError(
                f"{path} has {len(x)} rows of x and {len(column)} of {name}: expected equal numbers; use write_users"
            )
    columns = {"x": x, "y": y, **{name: ordinal_codes(f"{path}: {name}", given[name], len(x)) for name in given}}
    chosen = {str(name): user == name for name in np.unique(user)}
    return [
        LocalUser(name, **{key: column[own] for key, column in columns.items()}, balanced=bool(balanced[own][0]))
        for name, own in chosen.items()
    ]
