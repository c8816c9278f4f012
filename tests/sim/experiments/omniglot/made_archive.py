"""Small archives in Omniglot's official layout, with made-up drawings."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Mapping
from pathlib import Path

import numpy as np
from PIL import Image

from tegu.core.data.batch import Array

DRAWERS = 6
ALPHABETS = {"Alpha": 7, "Beta": 6, "Gamma": 6}  # numbers of characters


def drawing(alphabet: str, character: int, drawer: int, side: int = 56) -> Array:
    """Ink on paper, bool `[side, side]`: a bar. Characters differ in its place and direction, drawings in specks."""
    ink = np.zeros((side, side), bool)
    at, wide = 6 + 6 * character + drawer, 3 + list(ALPHABETS).index(alphabet)
    if alphabet == "Gamma" or character % 2:
        ink[at : at + wide, 8:48] = True
    else:
        ink[8:48, at : at + wide] = True
    specks = np.random.default_rng((list(ALPHABETS).index(alphabet), character, drawer))
    return ink ^ (specks.random(ink.shape) < 0.02)


def png(ink: Array) -> bytes:
    """As the archives have it: one bit a pixel, paper 1."""
    written = io.BytesIO()
    Image.fromarray(~ink).save(written, "PNG")
    return written.getvalue()


def files(archive: str, alphabets: Mapping[str, int]) -> dict[str, bytes]:
    """The pictures of an archive, by their paths in it."""
    return {
        f"{archive}/{alphabet}/character{character + 1:02d}/{character + 1:04d}_{drawer + 1:02d}.png": png(
            drawing(alphabet, character, drawer)
        )
        for alphabet, characters in alphabets.items()
        for character in range(characters)
        for drawer in range(DRAWERS)
    }


def write_zip(path: Path, content: Mapping[str, bytes | str]) -> None:
    """A zip archive of these files."""
    with zipfile.ZipFile(path, "w") as opened:
        for name, each in content.items():
            opened.writestr(name, each)


def made_archives(folder: Path) -> Path:
    """Two archives that share an alphabet, as the small official ones do."""
    write_zip(folder / "images_background_small1.zip", files("images_background_small1", {"Alpha": 7, "Beta": 6}))
    write_zip(folder / "images_background_small2.zip", files("images_background_small2", {"Beta": 6, "Gamma": 6}))
    return folder
