"""A run folder knows its run: `run.json` says what run the checkpoints belong to, and a lock keeps a second run out.

`run.json` is readable: settings as they are, and a sha256 where the thing itself is large. Another run is refused with
what differs. The number of rounds may change, and so may settings that calibration alone uses; see `check_run`.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeAlias

from tegu.core.errors import FederationError
from tegu.core.file_lock import file_lock
from tegu.core.files import atomic_write, make_folder
from tegu.core.notes import note
from tegu.server.training.checkpoint import newest_round

__all__ = [
    "SHA",
    "Record",
    "check_run",
    "differences",
    "finish_run",
    "hold_folder",
    "is_done",
    "is_finished",
    "resumed_text",
]

Record: TypeAlias = Mapping[str, Mapping[str, Any]]
"""What a run is: by part (plan, learner, data, start), the entries by name. Values are JSON."""

SHA = "sha256:"  # begins a value that a person cannot read
_RECORD, _LOCK, _FINISHED = "run.json", ".lock", "finished"
_AFTER_TRAINING = (
    "calibration-ks",
    "calibration-metric",
    "calibration-risk",
    "calibration-material",
    "calibration-harm-ratio",
    "calibration-confidence",
)
_STOPPING = ("until-flat", "validate-every")  # settings that a run with another number of rounds may change
_COUNTS = frozenset({"rounds", "users", "rows"})
_SHOWN = 6  # differences in a message
_ANEW = "choose another folder, or delete this one to start again"


@contextmanager
def hold_folder(folder: Path | None) -> Iterator[None]:
    """Keep other runs out of the folder, in other processes too. The lock ends with the process, however it ends.

    Args:
        folder: created if absent. None holds nothing.

    Raises:
        FederationError: another run has the folder.
        FileError: the folder cannot be written.
    """
    if folder is None:
        yield
        return
    make_folder(folder)
    with file_lock(folder / _LOCK) as held:
        if not held:
            raise FederationError(
                f"another run is writing to {folder}: wait until it has ended, or choose another folder"
            )
        yield


def is_held(folder: Path) -> bool:
    """Whether a run has the folder now. Ask only where no run can be about to take it.

    Raises:
        FileError: the folder cannot be written.
    """
    with file_lock(folder / _LOCK) as free:
        return not free


def check_run(folder: Path, record: Record, *, resume: bool = False) -> None:
    """Check that the folder is empty or holds checkpoints of this very run, and write `run.json`.

    The number of rounds may differ if the earlier rounds would have been the same: the outer step size does not decay,
    no rule stops the run, and no checkpoint is past the last round. A run that validation has ended (`until_flat`) may
    so be continued by one with a number of rounds. Without patience, the ks, the metric and the risk of
    calibration may differ too, because training does not use them; a note says so. A run without a checkpoint is
    replaced.

    Args:
        folder: a folder that this run holds; see `hold_folder`.
        record: of this run.
        resume: whether the folder must hold this run already.

    Raises:
        FederationError: the folder holds another run, one that is not known, or with `resume` none.
        FileError: `run.json` cannot be written.
    """
    reached, known = newest_round(folder), _read(folder)
    if known is None and reached is not None:
        raise FederationError(f"{folder} holds checkpoints and no {_RECORD}, so that their run is not known: {_ANEW}")
    if known is None and resume:
        raise FederationError(f"{folder} holds no run to resume: check the folder, or leave out resume to start one")
    if known is not None and (resume or reached is not None):
        found = differences(known, record, reached or 0)
        if found:
            more = f"; and {len(found) - _SHOWN} more" if len(found) > _SHOWN else ""
            raise FederationError(f"{folder} holds another run: {'; '.join(found[:_SHOWN])}{more}: {_ANEW}")
        for changed in _changed_calibration(known, record):
            note(f"the run in {folder} is continued with another setting of calibration: {changed}")
    _write(folder, {**record, _FINISHED: False})


def differences(there: Record, here: Record, reached: int) -> list[str]:
    """What differs between two runs in words, such as "seed 0 there, 1 here"; empty if `here` may continue `there`.

    Args:
        there: the record in the folder.
        here: the record of the run that wants to continue.
        reached: the newest checkpoint's round.
    """
    found = []
    for part in dict.fromkeys((*there, *here)):
        if part == _FINISHED:
            continue
        old, new = there.get(part, {}), here.get(part, {})
        for name in dict.fromkeys((*old, *new)):
            if old.get(name) != new.get(name) and not (part == "plan" and _may_change(name, new)):
                stopped = old.get("until-flat") == 1
                reason: str | None = ""
                if part == "plan" and (name == "rounds" or (name in _STOPPING and stopped)):
                    reason = _rounds_reason(new, reached, stopped=stopped)
                if reason is not None:
                    found.append(_difference(name, old.get(name), new.get(name)) + reason)
    return found


def _may_change(name: str, plan: Mapping[str, Any]) -> bool:
    """Whether training does not depend on a setting of the plan."""
    return name in _AFTER_TRAINING and not plan.get("patience")


def _changed_calibration(there: Record, here: Record) -> list[str]:
    """The settings of calibration that differ, in words."""
    old, new = there.get("plan", {}), here.get("plan", {})
    return [
        _difference(name, old.get(name), new.get(name)) for name in _AFTER_TRAINING if old.get(name) != new.get(name)
    ]


def _rounds_reason(plan: Mapping[str, Any], reached: int, *, stopped: bool) -> str | None:
    """Why the number of rounds may not change, to be added to the difference; None if it may."""
    if plan.get("outer-decay"):
        return " (the outer step size decays over all rounds, so the earlier rounds would have been others)"
    if plan.get("patience"):
        return " (with patience, validations depend on the number of rounds)"
    if plan.get("until-flat") == 1:
        return " (with until_flat, validations decide the number of rounds)"
    least = _rounds_of_a_fold(plan) if stopped else plan["rounds"]  # the first fold may have run past what it keeps
    return f" (round {reached} is reached already)" if reached > least else None


def _rounds_of_a_fold(plan: Mapping[str, Any]) -> int:
    """Rounds of the shortest training; see `tegu.server.training.cross_fitting.fold_rounds`."""
    rounds, folds = int(plan["rounds"]), max(int(plan.get("calibration-folds", 0)), 0)
    return -(-rounds * (folds - 1) // folds) if folds else rounds


def _difference(name: str, there: Any, here: Any) -> str:
    if there is None or here is None:
        return f"{name} {'here' if there is None else 'there'} alone"
    if str(there).startswith(SHA):
        return f"other {name}"
    return f"{there} {name} there, {here} here" if name in _COUNTS else f"{name} {there} there, {here} here"


def finish_run(folder: Path) -> None:
    """Note in `run.json` that the run has written all of its results.

    Raises:
        FileError: it cannot be written.
    """
    _write(folder, {**(_read(folder) or {}), _FINISHED: True})


def is_finished(folder: Path) -> bool:
    """Whether the folder's run has written all of its results, or is of a version that wrote no `run.json`.

    Raises:
        FederationError: `run.json` is damaged.
    """
    known = _read(folder)
    return known is None or bool(known.get(_FINISHED))


def is_done(folder: Path, record: Record) -> bool:
    """Whether the folder's run has written all of its results, and is this very run with the same calibration."""
    known = _read(folder)
    return (
        known is not None and bool(known.get(_FINISHED)) and {**known, _FINISHED: True} == {**record, _FINISHED: True}
    )


def resumed_text(done: int, rounds: int, folder: Path) -> str:
    """The note about a resumed training."""
    return f"resumed after round {done} of {rounds}, from the checkpoints in {folder}"


def _write(folder: Path, body: Mapping[str, Any]) -> None:
    atomic_write(folder / _RECORD, json.dumps(body, indent=1).encode())


def _read(folder: Path) -> dict[str, Any] | None:
    path = folder / _RECORD
    try:
        body = json.loads(path.read_text("utf-8"))
        parts = {name: value for name, value in body.items() if name != _FINISHED}
        if not all(isinstance(part, dict) for part in parts.values()):
            raise TypeError("expected an object for every part")  # noqa: TRY301 # reported like all damage
    except FileNotFoundError:
        return None
    except (OSError, AttributeError, TypeError, ValueError) as error:
        raise FederationError(f"{path} cannot be read ({error}): {_ANEW}") from error
    return dict(body)
