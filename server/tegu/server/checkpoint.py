"""A checkpoint after every round: one safetensors file with the parameters and the outer optimiser's state."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

from safetensors import SafetensorError, safe_open
from safetensors.numpy import save

from tegu.core.bundle import atomic_write
from tegu.core.errors import FederationError
from tegu.core.tree import Tree
from tegu.server.outer import OuterState

__all__ = ["KEEP", "Checkpoint", "latest_checkpoint", "read_checkpoint", "remove_checkpoints", "write_checkpoint"]

KEEP = 3
_PATTERN = "round-*.safetensors"


class Checkpoint(NamedTuple):
    """The server after `round` rounds."""

    round: int
    meta: Tree
    outer: OuterState


def write_checkpoint(folder: Path, checkpoint: Checkpoint, keep: int = KEEP) -> Path:
    """Write `round-<n>.safetensors` whole, then drop all but the newest `keep`.

    Raises:
        FederationError: the folder cannot be made.
        BundleError: the file cannot be written.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise FederationError(f"cannot make {folder} ({error.strerror}): choose a writable folder") from error
    arrays = {f"meta/{name}": array for name, array in checkpoint.meta.items()}
    arrays |= {f"outer/{name}": array for name, array in checkpoint.outer.arrays.items()}
    path = folder / f"round-{checkpoint.round:06d}.safetensors"
    atomic_write(path, save(arrays, {"round": str(checkpoint.round), "outer": checkpoint.outer.rest}))
    for old in sorted(folder.glob(_PATTERN))[:-keep]:
        old.unlink(missing_ok=True)
    return path


def remove_checkpoints(folder: Path) -> None:
    """Delete all checkpoints in `folder`, which need not exist."""
    for path in folder.glob(_PATTERN):
        path.unlink(missing_ok=True)


def latest_checkpoint(folder: Path) -> Checkpoint | None:
    """The newest checkpoint in `folder`, or None where there is none.

    Raises:
        FederationError: it cannot be read.
    """
    found = sorted(folder.glob(_PATTERN))
    return read_checkpoint(found[-1]) if found else None


def read_checkpoint(path: Path) -> Checkpoint:
    """Read one checkpoint.

    Raises:
        FederationError: the file is absent, damaged or not a checkpoint.
    """
    try:
        with safe_open(path, framework="numpy") as file:
            header = file.metadata() or {}
            arrays = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 # it is no mapping
        meta = {name[len("meta/") :]: array for name, array in arrays.items() if name.startswith("meta/")}
        outer = {name[len("outer/") :]: array for name, array in arrays.items() if name.startswith("outer/")}
        return Checkpoint(int(header["round"]), meta, OuterState(outer, header["outer"]))
    except (OSError, SafetensorError, KeyError, ValueError) as error:
        raise FederationError(
            f"{path} is not a readable checkpoint ({error}): delete it to go back one round"
        ) from error
