"""Checkpoints: after every round one safetensors file with the parameters and the outer optimiser's state.

A checkpoint carries its sha256, so that damage is seen. The newest one that is whole is used.
"""

from __future__ import annotations

import hashlib
import json
import logging
import math
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

from safetensors import SafetensorError, safe_open
from safetensors.numpy import save

from tegu.core.data.batch import Array
from tegu.core.data.tree import Tree, digest
from tegu.core.errors import FederationError
from tegu.core.files import atomic_write, make_folder
from tegu.server.evaluation.early_stopping import Best, ValidationHistory
from tegu.server.evaluation.validation import Validation
from tegu.server.privacy.account import remove_account
from tegu.server.training.outer_optimiser import OuterState

__all__ = [
    "KEEP",
    "Checkpoint",
    "latest_checkpoint",
    "newest_round",
    "read_checkpoint",
    "remove_checkpoints",
    "write_checkpoint",
]

_log = logging.getLogger(__name__)

KEEP = 3
_PATTERN, _SHA = "round-*.safetensors", "sha256"


class Checkpoint(NamedTuple):
    """The server's state after a round.

    Attributes:
        round: number of rounds run.
        meta: parameters after the round.
        outer: state of the outer optimiser.
        history: validations so far.
        clip: of the next round; infinite for none.
    """

    round: int
    meta: Tree
    outer: OuterState
    history: ValidationHistory = ValidationHistory()
    clip: float = math.inf

    def __repr__(self) -> str:
        validations = len(self.history.validations)
        return f"Checkpoint(round={self.round}, meta of {len(self.meta)} arrays, {validations} validations)"


def write_checkpoint(folder: Path, checkpoint: Checkpoint, keep: int = KEEP) -> Path:
    """Write `round-<n>.safetensors` atomically, then delete all but the newest `keep` checkpoints.

    Raises:
        FileError: the folder cannot be created, or the file cannot be written.
    """
    make_folder(folder)
    arrays = {f"meta/{name}": array for name, array in checkpoint.meta.items()}
    arrays |= {f"outer/{name}": array for name, array in checkpoint.outer.arrays.items()}
    header = {"round": str(checkpoint.round), "outer": checkpoint.outer.rest, "clip": repr(checkpoint.clip)}
    validations, best = checkpoint.history
    header["validations"] = json.dumps(validations)
    if best is not None:
        arrays |= {f"best/{name}": array for name, array in best.meta.items()}
        header["best"] = str(best.round)
    header[_SHA] = _sha256(arrays, header)
    path = folder / f"round-{checkpoint.round:06d}.safetensors"
    atomic_write(path, save(arrays, header))
    for old in sorted(folder.glob(_PATTERN))[:-keep]:
        old.unlink(missing_ok=True)
    return path


def remove_checkpoints(folder: Path) -> None:
    """Delete all checkpoints in `folder` and its subfolders, and what they have spent. The folder need not exist."""
    remove_account(folder)
    for path in folder.rglob(_PATTERN):
        path.unlink(missing_ok=True)


def latest_checkpoint(folder: Path) -> Checkpoint | None:
    """The newest checkpoint in `folder`; None if there is none.

    A damaged one is skipped with a warning, and the one before it is used.

    Raises:
        FederationError: there are checkpoints, and none can be read.
    """
    paths = sorted(folder.glob(_PATTERN), reverse=True)
    for path in paths:
        try:
            return read_checkpoint(path)
        except FederationError as error:
            _log.warning("%s is skipped: %s", path.name, error)
    if paths:
        raise FederationError(
            f"none of the {len(paths)} checkpoints in {folder} can be read: delete the folder to start again"
        )
    return None


def newest_round(folder: Path) -> int | None:
    """The highest round of a checkpoint in `folder` and its subfolders, by its name; None if there is none."""
    numbers = [path.stem.removeprefix("round-") for path in folder.rglob(_PATTERN)]
    return max((int(number) for number in numbers if number.isdecimal()), default=None)


def read_checkpoint(path: Path) -> Checkpoint:
    """Read one checkpoint.

    Raises:
        FederationError: the file does not exist, is damaged, or is not a checkpoint.
    """
    try:
        with safe_open(path, framework="numpy") as file:
            header = file.metadata() or {}
            arrays = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 # `file` is not a mapping
        if header.pop(_SHA) != _sha256(arrays, header):
            raise ValueError("its bytes were altered")  # noqa: TRY301 # reported like all damage
        meta, outer, best = (_with_prefix(f"{prefix}/", arrays) for prefix in ("meta", "outer", "best"))
        validations = tuple(Validation(*figures) for figures in json.loads(header["validations"]))
        history = ValidationHistory(validations, Best(int(header["best"]), best) if "best" in header else None)
        clip = float(header.get("clip", "inf"))  # earlier versions have none
        return Checkpoint(int(header["round"]), meta, OuterState(outer, header["outer"]), history, clip)
    except (OSError, SafetensorError, KeyError, TypeError, ValueError) as error:
        raise FederationError(
            f"{path} is not a readable checkpoint ({error}): delete it to resume one round earlier"
        ) from error


def _sha256(arrays: Tree, header: Mapping[str, str]) -> str:
    text = digest(arrays) + json.dumps(dict(header), sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()


def _with_prefix(prefix: str, arrays: Mapping[str, Array]) -> Tree:
    return {name.removeprefix(prefix): array for name, array in arrays.items() if name.startswith(prefix)}
