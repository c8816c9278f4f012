"""Omniglot's official 20-way one-shot runs: `all_runs.zip`, or its unpacked folder.

Each of twenty runs has twenty characters, one training drawing and one test drawing of each, and `class_labels.txt`,
whose lines name a test drawing and the training drawing of the same character.
"""

from __future__ import annotations

import zipfile
from collections.abc import Mapping
from pathlib import Path, PurePosixPath

import numpy as np

from tegu.core.data.spec import Spec
from tegu.core.errors import DataError
from tegu.sim.data.population import Population
from tegu.sim.experiments.omniglot.archive import decode

__all__ = ["official_runs"]

_LABELS = "class_labels.txt"


def official_runs(folder: Path, spec: Spec) -> Population | None:
    """Each run as a user, whose support of `ways` rows is exactly the training drawings; None if there are no runs.

    Raises:
        DataError: a file is missing or unreadable, or a run has more classes than `spec`.
    """
    files = _files(folder)
    listings = sorted(name for name in files if PurePosixPath(name).name == _LABELS)
    if not listings:
        return None
    x, y, user, order = [], [], [], []
    for listing in listings:
        pairs = [line.split() for line in files[listing].decode("utf-8", "replace").splitlines() if line.strip()]
        if any(len(pair) != 2 for pair in pairs):
            raise DataError(f"{listing} has a line without two names: expected a test and a training drawing a line")
        label = {training: number for number, training in enumerate(sorted({pair[1] for pair in pairs}))}
        if len(label) > spec.outputs:
            raise DataError(f"{listing} has {len(label)} classes, and the model {spec.outputs}: run with --ways 20")
        root = PurePosixPath(listing).parent.parent
        drawn = [(own, own, 0) for own in label] + [(test, training, 1) for test, training in pairs]
        for drawing, training, time in drawn:
            name = str(root / drawing)
            if name not in files:
                raise DataError(f"{listing} names {drawing}, which is not there: unpack the archive again")
            x.append(decode(files[name], name))
            y.append(label[training])
            user.append(PurePosixPath(listing).parent.name)
            order.append(time)
    return Population.from_arrays(np.stack(x)[:, None], np.asarray(y), np.asarray(user), spec, order=np.asarray(order))


def _files(folder: Path) -> Mapping[str, bytes]:
    unpacked = folder / "all_runs"
    if unpacked.is_dir():
        return {path.relative_to(unpacked).as_posix(): path.read_bytes() for path in unpacked.rglob("*.*")}
    archive = folder / "all_runs.zip"
    if not archive.is_file():
        return {}
    try:
        with zipfile.ZipFile(archive) as opened:
            return {name: opened.read(name) for name in opened.namelist() if not name.endswith("/")}
    except zipfile.BadZipFile as error:
        raise DataError(f"cannot read {archive} ({error}): expected a zip archive; download it again") from error
