"""A population on disk, of any size: rows are read when a round asks for their users.

    spec.json   x.bin   y.bin   counts.npy   users.npy

Raw rows, one user after the other, little-endian. `x` and `y` are mapped into memory; a round reads its users' rows
from the files themselves, so that training takes no more memory for more people.
"""

from __future__ import annotations

import json
import mmap
import os
import weakref
from collections.abc import Callable, Iterable
from pathlib import Path

import numpy as np

from tegu.client.participant import LocalUser
from tegu.core.batch import Array
from tegu.core.errors import DataError, PopulationError
from tegu.core.spec import Field, Spec, check_rows
from tegu.sim.population import Population

__all__ = ["read_population", "write_population"]


def write_population(folder: Path, spec: Spec, users: Iterable[LocalUser]) -> Population:
    """Write users one by one, so that no more than one need be in memory, and open what was written.

    Args:
        folder: made where it is absent.
        spec: what a model for these rows takes and gives.
        users: whose rows; at least one row each.

    Raises:
        DataError: rows that do not fit `spec`, or a folder that cannot be written.
        PopulationError: no users, or a user without rows.
    """
    counts, names = list[int](), list[str]()
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with (folder / "x.bin").open("wb") as inputs, (folder / "y.bin").open("wb") as targets:
            for user in users:
                x, y = check_rows(spec, user.x, user.y)
                if not len(x):
                    raise PopulationError(f"user {user.user} has no rows: expected at least one; leave such users out")
                inputs.write(_little(x).tobytes())
                targets.write(_little(y).tobytes())
                counts.append(len(x))
                names.append(user.user)
        if not names:
            raise PopulationError("there are no users: expected at least one")
        np.save(folder / "counts.npy", np.asarray(counts, np.int64))
        np.save(folder / "users.npy", np.asarray(names))
        (folder / "spec.json").write_text(json.dumps(spec.to_dict()), "utf-8")
    except OSError as error:
        raise DataError(f"cannot write {folder} ({error.strerror or error}): choose a writable folder") from error
    return read_population(folder)


def read_population(folder: Path) -> Population:
    """Open what `write_population` wrote; rows stay in their files.

    Raises:
        DataError: a file is absent, damaged, or of another length than the users' counts say.
    """
    try:
        spec = Spec.from_dict(json.loads((folder / "spec.json").read_text("utf-8")))
        counts = np.load(folder / "counts.npy", allow_pickle=False)
        users = np.load(folder / "users.npy", allow_pickle=False)
        rows = int(counts.sum())
        x, y = (_mapped(folder / name, rows, field) for name, field in (("x.bin", spec.x), ("y.bin", spec.y)))
        read = _reader(folder / "x.bin", folder / "y.bin", spec)
    except (OSError, EOFError, ValueError, DataError) as error:
        raise DataError(f"{folder} holds no readable population ({error}): write it with write_population") from error
    return Population(spec, x, y, np.cumsum(counts) - counts, counts, users, read)


def _reader(inputs: Path, targets: Path, spec: Spec) -> Callable[[Array, Array], tuple[Array, Array]]:
    """See `Population.read`; the files are open as long as it is in use."""
    x, y = (os.open(path, os.O_RDONLY) for path in (inputs, targets))

    def read(begins: Array, counts: Array) -> tuple[Array, Array]:
        return _read(x, spec.x, begins, counts), _read(y, spec.y, begins, counts)

    for file in (x, y):
        weakref.finalize(read, os.close, file)
    return read


def _read(file: int, field: Field, begins: Array, counts: Array) -> Array:
    size = _row_bytes(field)
    places = zip((begins * size).tolist(), (counts * size).tolist(), strict=True)
    rows = b"".join([os.pread(file, length, begin) for begin, length in places])
    return np.frombuffer(rows, _stored(field)).reshape(-1, *field.shape)


def _stored(field: Field) -> np.dtype[np.generic]:
    return np.dtype(field.dtype).newbyteorder("<")


def _row_bytes(field: Field) -> int:
    return int(np.prod(field.shape)) * _stored(field).itemsize


def _mapped(path: Path, rows: int, field: Field) -> Array:
    expected = rows * _row_bytes(field)
    if path.stat().st_size != expected:
        raise ValueError(f"{path.name} has {path.stat().st_size} bytes, and {rows} rows have {expected}")
    with path.open("rb") as file:
        pages = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
    return np.frombuffer(pages, _stored(field)).reshape(rows, *field.shape)


def _little(rows: Array) -> Array:
    return rows.astype(rows.dtype.newbyteorder("<"), copy=False)
