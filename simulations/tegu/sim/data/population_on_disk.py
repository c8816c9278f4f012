"""A population on disk, of any size: rows are read when a round asks for their users.

    spec.json   rows.bin   counts.npy   users.npy   most.npy   tied.npy   and perhaps group.bin, order.bin

Raw rows, one user after the other, little-endian; each has its `x` and then its `y`, so that a user is one place on the
disk. They are mapped into memory; a round reads its users' rows from the file itself, so that training takes no more
memory for more people.
"""

from __future__ import annotations

import json
import mmap
import os
import weakref
from collections.abc import Callable, Iterable
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from tegu.core.data.batch import Array
from tegu.core.data.codes import ordinal_codes
from tegu.core.data.spec import Spec, check_rows
from tegu.core.data.users import LocalUser
from tegu.core.errors import DataError, FileError, PopulationError
from tegu.core.process import require_os
from tegu.sim.data.population import Population

__all__ = ["read_population", "write_population"]

_COLUMNS = ("rows", "group", "order")
_CODE = np.dtype("<i8")
_USERS = 4096  # whose rows are in memory at once where what belongs together is looked for


def write_population(folder: Path, spec: Spec, users: Iterable[LocalUser]) -> Population:
    """Write users one by one, so that no more than some need be in memory, and open what was written.

    Args:
        folder: made where it is absent.
        spec: what a model for these rows takes and gives.
        users: whose rows; at least one row each.

    Raises:
        DataError: rows that do not fit `spec`, or a group or an order that only some users have.
        FileError: the folder cannot be written.
        PlatformError: this system cannot read one.
        PopulationError: no users, or a user without rows.
    """
    _check_system()
    try:
        folder.mkdir(parents=True, exist_ok=True)
        counts, names = _write_rows(folder, spec, users)
        if not names:
            raise PopulationError("there are no users: expected at least one")
        np.save(folder / "counts.npy", np.asarray(counts, np.int64))
        np.save(folder / "users.npy", np.asarray(names))
        (folder / "spec.json").write_text(json.dumps(spec.to_dict()), "utf-8")
        _write_ties(folder)
    except OSError as error:
        raise FileError(f"cannot write {folder} ({error.strerror or error}): choose a writable folder") from error
    return read_population(folder)


def _write_rows(folder: Path, spec: Spec, users: Iterable[LocalUser]) -> tuple[list[int], list[str]]:
    """Write the columns that the first user has; returns everyone's number of rows and name."""
    counts, names = list[int](), list[str]()
    files: dict[str, BinaryIO] = {}
    with ExitStack() as opened:
        for user in users:
            rows = _checked(spec, user)
            if not names:
                for name in _COLUMNS:
                    (folder / f"{name}.bin").unlink(missing_ok=True)
                files = {name: opened.enter_context((folder / f"{name}.bin").open("wb")) for name in rows}
            if rows.keys() != files.keys():
                raise DataError(
                    f"user {user.user} has {', '.join(rows)}, and those before have {', '.join(files)}: expected a "
                    "group or an order of all users or of none"
                )
            for name, values in rows.items():
                files[name].write(values.tobytes())
            counts.append(len(rows["rows"]))
            names.append(user.user)
    return counts, names


def _checked(spec: Spec, user: LocalUser) -> dict[str, Array]:
    """The user's columns as they are stored."""
    x, y = check_rows(spec, user.x, user.y)
    if not len(x):
        raise PopulationError(f"user {user.user} has no rows: expected at least one; leave such users out")
    ties = {"group": user.group, "order": user.order}
    given = {
        name: ordinal_codes(f"{name} of {user.user}", rows, len(x)) for name, rows in ties.items() if rows is not None
    }
    rows = np.zeros(len(x), _record(spec))
    rows["x"], rows["y"] = x, y
    return {"rows": rows, **{name: values.astype(_CODE, copy=False) for name, values in given.items()}}


def _write_ties(folder: Path) -> None:
    """Find what belongs together, some thousands of users at a time."""
    people = _opened(folder)
    parts = [people.ties(places) for places in np.array_split(np.arange(len(people)), -(-len(people) // _USERS))]
    np.save(folder / "most.npy", np.concatenate([part.max_support for part in parts]))
    np.save(folder / "tied.npy", np.concatenate([part.has_units for part in parts]))


def read_population(folder: Path) -> Population:
    """Open what `write_population` wrote; rows stay in their files.

    Raises:
        DataError: a file is absent, damaged, or of another length than the users' counts say.
        PlatformError: this system cannot read one.
    """
    _check_system()
    try:
        people = _opened(folder)
        most, tied = (np.load(folder / name, allow_pickle=False) for name in ("most.npy", "tied.npy"))
        if not most.shape == tied.shape == people.counts.shape:
            raise DataError(f"most.npy and tied.npy are of {most.shape} and {tied.shape}, for {len(people)} users")  # noqa: TRY301 # as of all damage
    except (OSError, EOFError, ValueError, DataError) as error:
        raise DataError(f"{folder} holds no readable population ({error}): write it with write_population") from error
    return replace(people, most=most, tied=tied)


def _opened(folder: Path) -> Population:
    """The population as if nothing belonged together."""
    spec = Spec.from_dict(json.loads((folder / "spec.json").read_text("utf-8")))
    counts = np.load(folder / "counts.npy", allow_pickle=False)
    users = np.load(folder / "users.npy", allow_pickle=False)
    rows, record = int(counts.sum()), _record(spec)
    mapped = _mapped(folder / "rows.bin", rows, record)
    ties = {name: _mapped(path, rows, _CODE) for name in _COLUMNS[1:] if (path := folder / f"{name}.bin").exists()}
    return Population(
        spec,
        mapped["x"],
        mapped["y"],
        begins=np.cumsum(counts) - counts,
        counts=counts,
        users=users,
        most=counts - 1,
        tied=np.zeros(len(counts), bool),
        read=_reader(folder / "rows.bin", record),
        **ties,
    )


def _check_system() -> None:
    require_os("pread", "a population on disk")


def _record(spec: Spec) -> np.dtype[np.void]:
    """A row as it is stored."""
    fields = (("x", spec.x), ("y", spec.y))
    return np.dtype([(name, np.dtype(each.dtype).newbyteorder("<"), each.shape) for name, each in fields], align=True)


def _reader(path: Path, record: np.dtype[np.void]) -> Callable[[Array, Array], tuple[Array, Array]]:
    """See `Population.read`; the file is open as long as it is in use."""
    file = os.open(path, os.O_RDONLY)

    def read(begins: Array, counts: Array) -> tuple[Array, Array]:
        places = zip((begins * record.itemsize).tolist(), (counts * record.itemsize).tolist(), strict=True)
        rows = np.frombuffer(b"".join([os.pread(file, length, begin) for begin, length in places]), record)
        return rows["x"], rows["y"]

    weakref.finalize(read, os.close, file)
    return read


def _mapped(path: Path, rows: int, record: np.dtype[Any]) -> Array:
    expected = rows * record.itemsize
    if path.stat().st_size != expected:
        raise ValueError(f"{path.name} has {path.stat().st_size} bytes, and {rows} rows have {expected}")
    with path.open("rb") as file:
        pages = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
    return np.frombuffer(pages, record)
