"""A checkpoint after every round: one safetensors file with the parameters and the outer optimiser's state."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

from safetensors import SafetensorError, safe_open
from safetensors.numpy import save

from tegu.core.data.batch import Array
from tegu.core.data.tree import Tree
from tegu.core.errors import FederationError
from tegu.core.files import atomic_write, make_folder
from tegu.server.evaluation.validation import Best, Validation, ValidationHistory
from tegu.server.training.outer_optimiser import OuterState

__all__ = ["KEEP", "Checkpoint", "latest_checkpoint", "read_checkpoint", "remove_checkpoints", "write_checkpoint"]

KEEP = 3
_PATTERN = "round-*.safetensors"


class Checkpoint(NamedTuple):
    """The server after `round` rounds, and the validations of those rounds."""

    round: int
    meta: Tree
    outer: OuterState
    history: ValidationHistory = ValidationHistory()


def write_checkpoint(folder: Path, checkpoint: Checkpoint, keep: int = KEEP) -> Path:
    """Write `round-<n>.safetensors` whole, then drop all but the newest `keep`.

    Raises:
        FileError: the folder cannot be made, or the file cannot be written.
    """
    make_folder(folder)
    arrays = {f"meta/{name}": array for name, array in checkpoint.meta.items()}
    arrays |= {f"outer/{name}": array for name, array in checkpoint.outer.arrays.items()}
    header = {"round": str(checkpoint.round), "outer": checkpoint.outer.rest}
    looks, best = checkpoint.history
    header["looks"] = json.dumps(looks)
    if best is not None:
        arrays |= {f"best/{name}": array for name, array in best.meta.items()}
        header["best"] = str(best.round)
    path = folder / f"round-{checkpoint.round:06d}.safetensors"
    atomic_write(path, save(arrays, header))
    for old in sorted(folder.glob(_PATTERN))[:-keep]:
        old.unlink(missing_ok=True)
    return path


def remove_checkpoints(folder: Path) -> None:
    """Delete all checkpoints in `folder`, which need not exist."""
    for path in folder.rglob(_PATTERN):
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
        meta, outer, best = (_below(f"{part}/", arrays) for part in ("meta", "outer", "best"))
        looks = tuple(Validation(*look) for look in json.loads(header["looks"]))
        history = ValidationHistory(looks, Best(int(header["best"]), best) if "best" in header else None)
        return Checkpoint(int(header["round"]), meta, OuterState(outer, header["outer"]), history)
    except (OSError, SafetensorError, KeyError, TypeError, ValueError) as error:
        raise FederationError(
            f"{path} is not a readable checkpoint ({error}): delete it to go back one round"
        ) from error


def _below(prefix: str, arrays: Mapping[str, Array]) -> Tree:
    return {name.removeprefix(prefix): array for name, array in arrays.items() if name.startswith(prefix)}
