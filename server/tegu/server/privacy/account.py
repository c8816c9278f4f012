"""What a run has spent, in a file beside its checkpoints.

The file is written before what a round has found is released. A round that a killed run has released, and repeats with
fresh noise, is therefore counted twice, as it must be.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from tegu.core.errors import FederationError
from tegu.core.files import atomic_write, make_folder
from tegu.server.privacy.accountant import Spent

__all__ = ["ACCOUNT", "Account", "read_account", "remove_account", "write_account"]

ACCOUNT = "privacy.json"


class Account(NamedTuple):
    """What a run has spent.

    Attributes:
        noise: noise multiplier of the run; None before the first round.
        last: the highest round that has been released, from 1; 0 for none.
        spent: rounds by kind.
    """

    noise: float | None = None
    last: int = 0
    spent: Sequence[Spent] = ()


def write_account(folder: Path, account: Account) -> None:
    """Write the account, and flush it to the disk.

    Raises:
        FileError: it cannot be written.
    """
    make_folder(folder)
    body = {**account._asdict(), "spent": [each._asdict() for each in account.spent]}
    atomic_write(folder / ACCOUNT, json.dumps(body, indent=1).encode())


def read_account(folder: Path, done: int) -> Account:
    """The folder's account.

    Args:
        folder: of the checkpoints.
        done: number of rounds that the checkpoints hold.

    Raises:
        FederationError: rounds are done, and the account is absent or damaged.
    """
    path = folder / ACCOUNT
    try:
        body = json.loads(path.read_text("utf-8"))
        account = Account(_number(body["noise"]), int(body["last"]), [_spent(**each) for each in body["spent"]])
    except FileNotFoundError:
        account = Account()
    except (OSError, KeyError, TypeError, ValueError) as error:
        raise FederationError(
            f"{path} cannot be read ({error}), so that nobody knows what the run has spent: start again in another "
            "folder"
        ) from error
    if account.last < done:
        raise FederationError(
            f"{path} knows of {account.last} rounds and the checkpoints of {done}, so that nobody knows what the run "
            "has spent: start again in another folder"
        )
    return account


def remove_account(folder: Path) -> None:
    """Forget what a run has spent that is replaced. The file need not exist."""
    (folder / ACCOUNT).unlink(missing_ok=True)


def _spent(probability: float, noise: float, rounds: int) -> Spent:
    if not (0 < probability <= 1 and noise > 0 and rounds >= 0):
        raise ValueError(f"{rounds} rounds with probability {probability} and noise {noise}")
    return Spent(float(probability), float(noise), int(rounds))


def _number(value: float | None) -> float | None:
    return None if value is None else float(value)
