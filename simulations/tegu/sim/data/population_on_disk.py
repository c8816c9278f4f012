"""A population on disk, of any size: a round reads the rows of its own users only.

    spec.json   rows.bin   counts.npy   users.npy   most.npy   tied.npy
    and optionally group.bin, order.bin, encoding.json, labels.npy

`rows.bin` holds raw little-endian rows, one user after the other. Each row is its `x` and then its `y`, so that a user
is one contiguous range of the file. The file is mapped into memory, but a round reads its users' rows from the file
itself. Training therefore takes no more memory for more users. `most.npy` and `tied.npy` hold
`Population.max_support` and `Population.has_units`, and `labels.npy` holds `Population.labels`.
"""

from __future__ import annotations

import json
import mmap
import os
import weakref
from collections.abc import Callable, Iterable, Sequence
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple, overload

import numpy as np

from tegu.core.data.batch import Array
from tegu.core.data.codes import ordinal_codes
from tegu.core.data.spec import Spec, check_rows
from tegu.core.data.users import LocalUser
from tegu.core.encoding.encoding import Encoding, encoding_from_dict
from tegu.core.errors import DataError, FileError, PopulationError
from tegu.core.process import require_os
from tegu.core.scalars import whole_number
from tegu.sim.data.population import Population

__all__ = ["read_population", "write_population"]

_COLUMNS = ("rows", "group", "order")
_LABELS = "labels.npy"
_CODE = np.dtype("<i8")
_USERS = 4096  # whose rows are in memory at once while row units are searched for


@overload
def write_population(
    folder: Path, spec: Spec, users: Iterable[LocalUser], encoding: Encoding | None = None
) -> Population: ...
@overload
def write_population(
    folder: Path, spec: Spec, users: Iterable[LocalUser], encoding: Encoding | None = None, *, shards: int
) -> list[Population]: ...
def write_population(
    folder: Path,
    spec: Spec,
    users: Iterable[LocalUser],
    encoding: Encoding | None = None,
    *,
    shards: int | None = None,
) -> Population | list[Population]:
    """Write users one by one, so that they need not all be in memory, and open the result.

    Args:
        folder: created if it is absent.
        spec: inputs and outputs of a model for these rows.
        users: the users; each needs at least one row.
        encoding: how their rows were made, see `Population.encoding`; None if they were given as they are.
        shards: number of populations `<folder>/0`, `<folder>/1` and so on, one for each node of a federation, to which
            users are dealt out in turn. None means one population, in the folder itself.

    Returns:
        The population, or the list of `shards` populations.

    Raises:
        DataError: rows do not fit `spec`, only some users have a group or an order, or `shards` is below 1.
        FileError: the folder cannot be written.
        PlatformError: this system cannot read a population on disk.
        PopulationError: there are no users, fewer than shards, or a user has no rows.
    """
    _check_system()
    folders = [folder] if shards is None else [folder / str(i) for i in range(whole_number("shards", shards, 1))]
    try:
        for each in folders:
            each.mkdir(parents=True, exist_ok=True)
        written, balanced = _write_rows(folders, spec, users)
        for each, (counts, names) in zip(folders, written, strict=True):
            _write_rest(each, spec, counts, names, encoding)
            _write_row_units(each, balanced)
    except OSError as error:
        raise FileError(f"cannot write {folder} ({error.strerror or error}): choose a writable folder") from error
    populations = [read_population(each) for each in folders]
    return populations[0] if shards is None else populations


class _Written(NamedTuple):
    """The users of one folder."""

    counts: list[int]
    names: list[str]


def _write_rows(folders: Sequence[Path], spec: Spec, users: Iterable[LocalUser]) -> tuple[list[_Written], bool]:
    """Write the columns that the first user has, and deal the users out to the folders.

    Returns:
        For each folder the number of rows and the name of every user; and whether users are balanced.
    """
    written, balanced = [_Written([], []) for _ in folders], set[bool]()
    columns: tuple[str, ...] = ()
    with ExitStack() as opened:
        files: list[dict[str, BinaryIO]] = []
        for number, user in enumerate(users):
            rows = _stored_columns(spec, user)
            if not files:
                columns, files = tuple(rows), [_opened_columns(folder, tuple(rows), opened) for folder in folders]
            if tuple(rows) != columns:
                raise DataError(
                    f"user {user.user} has {', '.join(rows)}, and the users before have {', '.join(columns)}: expected "
                    "a group or an order for all users or for none"
                )
            shard = number % len(folders)
            for name, values in rows.items():
                files[shard][name].write(values.tobytes())
            written[shard].counts.append(len(rows["rows"]))
            written[shard].names.append(user.user)
            balanced.add(user.balanced)
    if len(balanced) > 1:
        raise DataError("some users are balanced and others are not: expected all of them or none")
    if not written[-1].names:
        found = sum(len(each.names) for each in written)
        raise PopulationError(f"there are {found or 'no'} users: expected at least {len(folders)}, one for each folder")
    return written, True in balanced


def _opened_columns(folder: Path, columns: Sequence[str], opened: ExitStack) -> dict[str, BinaryIO]:
    for name in _COLUMNS:
        (folder / f"{name}.bin").unlink(missing_ok=True)
    return {name: opened.enter_context((folder / f"{name}.bin").open("wb")) for name in columns}


def _write_rest(
    folder: Path, spec: Spec, counts: Sequence[int], names: Sequence[str], encoding: Encoding | None
) -> None:
    np.save(folder / "counts.npy", np.asarray(counts, np.int64))
    np.save(folder / "users.npy", np.asarray(names))
    (folder / "spec.json").write_text(json.dumps(spec.to_dict()), "utf-8")
    (folder / "encoding.json").unlink(missing_ok=True)
    if encoding is not None:
        (folder / "encoding.json").write_text(json.dumps(encoding.to_dict()), "utf-8")


def _stored_columns(spec: Spec, user: LocalUser) -> dict[str, Array]:
    """The user's columns in their stored format."""
    x, y = check_rows(spec, user.x, user.y)
    if not len(x):
        raise PopulationError(f"user {user.user} has no rows: expected at least one; leave this user out")
    columns = {"group": user.group, "order": user.order}
    given = {
        name: ordinal_codes(f"{name} of {user.user}", values, len(x))
        for name, values in columns.items()
        if values is not None
    }
    rows = np.zeros(len(x), _record(spec))
    rows["x"], rows["y"] = x, y
    return {"rows": rows, **{name: values.astype(_CODE, copy=False) for name, values in given.items()}}


def _write_row_units(folder: Path, balanced: bool) -> None:
    """Find row units, some thousands of users at a time."""
    population = _without_row_units(folder)
    if balanced:
        population = replace(population, labels=np.zeros(len(population), np.int64))
    batches = np.array_split(np.arange(len(population)), -(-len(population) // _USERS))
    units = [population.row_units(users) for users in batches]
    np.save(folder / "most.npy", np.concatenate([each.max_support for each in units]))
    np.save(folder / "tied.npy", np.concatenate([each.has_units for each in units]))
    (folder / _LABELS).unlink(missing_ok=True)
    if balanced:
        np.save(folder / _LABELS, np.concatenate([each.labels for each in units if each.labels is not None]))


def read_population(folder: Path) -> Population:
    """Open what `write_population` wrote; rows stay in their files.

    Raises:
        DataError: a file is absent or damaged, or its length does not match the users' counts.
        PlatformError: this system cannot read a population on disk.
    """
    _check_system()
    try:
        population = _without_row_units(folder)
        names = ("most.npy", "tied.npy", *([_LABELS] if (folder / _LABELS).exists() else []))
        of_users = [np.load(folder / name, allow_pickle=False) for name in names]
        if any(each.shape != population.counts.shape for each in of_users):
            found = " and ".join(str(each.shape) for each in of_users)
            raise DataError(f"{' and '.join(names)} have shapes {found}, for {len(population)} users")  # noqa: TRY301 # reported like all damage
    except (OSError, EOFError, TypeError, ValueError, DataError) as error:
        raise DataError(f"{folder} holds no readable population ({error}): write it with write_population") from error
    labels = dict(zip(names, of_users, strict=True)).get(_LABELS)
    return replace(population, max_support=of_users[0], has_units=of_users[1], labels=labels)


def _without_row_units(folder: Path) -> Population:
    """The population with `max_support` and `has_units` as if no rows had to stay together."""
    spec = Spec.from_dict(json.loads((folder / "spec.json").read_text("utf-8")))
    counts = np.load(folder / "counts.npy", allow_pickle=False)
    users = np.load(folder / "users.npy", allow_pickle=False)
    rows, record = int(counts.sum()), _record(spec)
    mapped = _mapped(folder / "rows.bin", rows, record)
    described = folder / "encoding.json"
    encoding = encoding_from_dict(json.loads(described.read_text("utf-8"))) if described.exists() else None
    optional = {name: _mapped(path, rows, _CODE) for name in _COLUMNS[1:] if (path := folder / f"{name}.bin").exists()}
    return Population(
        spec,
        mapped["x"],
        mapped["y"],
        begins=np.cumsum(counts) - counts,
        counts=counts,
        users=users,
        max_support=counts - 1,
        has_units=np.zeros(len(counts), bool),
        read=_reader(folder / "rows.bin", record),
        encoding=encoding,
        **optional,
    )


def _check_system() -> None:
    require_os("pread", "a population on disk")


def _record(spec: Spec) -> np.dtype[np.void]:
    """The stored format of one row."""
    fields = (("x", spec.x), ("y", spec.y))
    return np.dtype([(name, np.dtype(each.dtype).newbyteorder("<"), each.shape) for name, each in fields], align=True)


def _reader(path: Path, record: np.dtype[np.void]) -> Callable[[Array, Array], tuple[Array, Array]]:
    """A function for `Population.read`. The file stays open as long as the function exists."""
    file = os.open(path, os.O_RDONLY)

    def read(begins: Array, counts: Array) -> tuple[Array, Array]:
        ranges = zip((begins * record.itemsize).tolist(), (counts * record.itemsize).tolist(), strict=True)
        rows = np.frombuffer(b"".join([os.pread(file, length, begin) for begin, length in ranges]), record)
        return rows["x"], rows["y"]

    weakref.finalize(read, os.close, file)
    return read


def _mapped(path: Path, rows: int, record: np.dtype[Any]) -> Array:
    expected = rows * record.itemsize
    if path.stat().st_size != expected:
        raise ValueError(f"{path.name} has {path.stat().st_size} bytes, but {rows} rows take {expected}")
    with path.open("rb") as file:
        pages = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
    return np.frombuffer(pages, record)
