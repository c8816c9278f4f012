"""What must not leave a device, in every form in which it could: as text, and as numbers of either width and order."""

from __future__ import annotations

import getpass
import itertools
import os
import socket
from collections.abc import Iterable, Mapping
from pathlib import Path

import numpy as np

from tegu.core.data.users import LocalUser

_ENCODINGS = ("utf-8", "utf-16-le", "utf-16-be")
_LEAST_TEXT = 5  # bytes: shorter ones are in random bytes by chance


def canaries(users: Iterable[LocalUser], paths: Iterable[Path]) -> dict[bytes, str]:
    """Bytes to search for, with what they are.

    Args:
        users: whose names and rows are secret.
        paths: of the device, which are secret too.
    """
    found: dict[bytes, str] = {}
    host = (
        socket.gethostname(),
        getpass.getuser(),
        str(Path.home()),
        os.environ.get("PWD", ""),
        "Traceback",
        ".npz",
        ".tegu",
    )
    users = list(users)
    for text in (*host, *(str(path) for path in paths), *(user.user for user in users)):
        for encoding in _ENCODINGS:
            if len(bytes(text, "utf-8")) >= _LEAST_TEXT or text.startswith("."):
                found[text.encode(encoding)] = f"the text {text!r}"
    for user in users:
        for values in (user.x, user.y):
            found |= _numbers(np.asarray(values).reshape(-1), user.user)
    return found


def _numbers(values: np.ndarray, user: str) -> Mapping[bytes, str]:
    """Every value as float64 and as text, and every two that follow each other as float32."""
    found = {}
    for value in values.tolist():
        for order in "<>":
            found[np.asarray(value, f"{order}f8").tobytes()] = f"{value} of {user}"
        for text in (repr(value), str(np.float32(value))):
            if len(text) > 7:  # digits that are no accident
                found[text.encode()] = f"{value} of {user} as text"
    for pair in itertools.pairwise(values.tolist()):
        for order in "<>":
            found[np.asarray(pair, f"{order}f4").tobytes()] = f"{pair} of {user}"
    return {key: what for key, what in found.items() if any(key)}


def canaries_in(data: bytes, searched: Mapping[bytes, str]) -> list[str]:
    """What of the canaries is in the bytes."""
    return [what for key, what in searched.items() if key in data]
