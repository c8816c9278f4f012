"""Omniglot's drawings, read from the official archives or from their unpacked folders.

Lake, Salakhutdinov and Tenenbaum 2015, "Human-level concept learning through probabilistic program induction". An
archive holds `<archive>/<alphabet>/<character>/<number>_<drawer>.png`, black ink on white, 105 by 105 pixels. The two
small archives share alphabets: a drawing that is in both counts once.
"""

from __future__ import annotations

import io
import zipfile
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import NamedTuple

import numpy as np

from tegu.core.data.batch import Array
from tegu.core.errors import DataError, require

__all__ = ["EVALUATION", "SIDE", "Drawings", "decode", "read_drawings"]

SIDE = 28  # pixels, as in the papers
EVALUATION = "images_evaluation"
_PARTS = 3  # of a drawing's path that name it


class Drawings(NamedTuple):
    """Drawings in order of alphabet, character and drawer.

    Attributes:
        x: float32 `[rows, 1, SIDE, SIDE]`, the share of each pixel that is ink, from 0 to 1.
        alphabet: `[rows]`, names.
        character: `[rows]`, names such as `Greek/character01`.
        drawer: int64 `[rows]`, numbers of the people.
        evaluation: bool `[rows]`, whether the drawing is from the official evaluation set.
    """

    x: Array
    alphabet: Array
    character: Array
    drawer: Array
    evaluation: Array


def read_drawings(folder: Path) -> Drawings:
    """Read every `images_*.zip` of a folder, and every folder `images_*`.

    Raises:
        DataError: there are no drawings, or one cannot be read.
        MissingExtraError: pillow is not installed.
    """
    found: dict[tuple[str, ...], tuple[Array, bool]] = {}
    for path, name, content in _files(folder):
        key = PurePosixPath(name).parts[-_PARTS:]
        if len(key) == _PARTS and key not in found:
            found[key] = decode(content, f"{path}: {name}"), EVALUATION in path.name
    if not found:
        raise DataError(
            f"{folder} has no drawings: expected images_background.zip, images_evaluation.zip or the small ones, or "
            "folders of these names with alphabet/character/*.png; the archives are at "
            "github.com/brendenlake/omniglot, in python/"
        )
    keys = sorted(found)
    return Drawings(
        np.stack([found[key][0] for key in keys])[:, None],
        np.asarray([alphabet for alphabet, _, _ in keys]),
        np.asarray([f"{alphabet}/{character}" for alphabet, character, _ in keys]),
        np.asarray([_drawer(file) for _, _, file in keys]),
        np.asarray([found[key][1] for key in keys]),
    )


def decode(content: bytes, name: str) -> Array:
    """One drawing, float32 `[SIDE, SIDE]`, ink 1 and paper 0: each pixel is the mean of those it covers.

    Raises:
        DataError: the content is no picture.
        MissingExtraError: pillow is not installed.
    """
    image = require("PIL.Image", "sim")
    try:
        with image.open(io.BytesIO(content)) as opened:
            small = opened.convert("L").resize((SIDE, SIDE), image.Resampling.BOX)
    except (OSError, ValueError) as error:
        raise DataError(
            f"cannot read the drawing {name} ({error}): expected a PNG; unpack the archive again"
        ) from error
    return np.asarray(1 - np.asarray(small, np.float32) / 255, np.float32)


def _drawer(file: str) -> int:
    number = PurePosixPath(file).stem.rpartition("_")[2]
    return int(number) if number.isdigit() else 0


def _files(folder: Path) -> Iterator[tuple[Path, str, bytes]]:
    """The archive or folder, the name and the content of each drawing."""
    if not folder.is_dir():
        raise DataError(f"{folder} is not a folder: expected the one that holds Omniglot's archives")
    for path in sorted(folder.glob("images_*")):
        if path.is_dir():
            for file in sorted(path.rglob("*.png")):
                yield path, file.relative_to(path.parent).as_posix(), file.read_bytes()
        elif path.suffix == ".zip":
            try:
                with zipfile.ZipFile(path) as archive:
                    for name in sorted(archive.namelist()):
                        if name.endswith(".png"):
                            yield path, name, archive.read(name)
            except zipfile.BadZipFile as error:
                raise DataError(f"cannot read {path} ({error}): expected a zip archive; download it again") from error
