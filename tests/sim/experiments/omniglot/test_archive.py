"""Reading the official layout, and which characters train, calibrate and are held out."""

from __future__ import annotations

import zipfile
from pathlib import Path

import numpy as np
import pytest
from tests.sim.experiments.omniglot.made_archive import DRAWERS, drawing, files, made_archives, write_zip

from tegu.core.errors import DataError, UnknownNameError
from tegu.sim.experiments.omniglot.alphabets import split_characters
from tegu.sim.experiments.omniglot.archive import SIDE, read_drawings


def test_archives_are_read_once_each_ink_is_one_and_pixels_are_means(tmp_path: Path) -> None:
    found = read_drawings(made_archives(tmp_path))
    assert found.x.shape == (19 * DRAWERS, 1, SIDE, SIDE)
    assert sorted(set(found.alphabet.tolist())) == ["Alpha", "Beta", "Gamma"]
    (row,) = np.flatnonzero((found.character == "Beta/character03") & (found.drawer == 5))
    ink = drawing("Beta", 2, 4).astype(float)
    expected = ink.reshape(SIDE, 2, SIDE, 2).mean((1, 3))  # each pixel covers four
    assert np.abs(found.x[row, 0] - expected).max() < 1 / 255
    assert not found.evaluation.any()


def test_unpacked_folders_give_the_same(tmp_path: Path) -> None:
    packed, unpacked = made_archives(tmp_path), tmp_path / "unpacked"
    for path in sorted(packed.glob("*.zip")):
        with zipfile.ZipFile(path) as archive:
            archive.extractall(unpacked)
    first, second = read_drawings(packed), read_drawings(unpacked)
    assert all((a == b).all() for a, b in zip(first, second, strict=True))


def test_whole_alphabets_are_held_out(tmp_path: Path) -> None:
    drawings = read_drawings(made_archives(tmp_path))
    train, calibration, heldout = split_characters(drawings, 3, seed=0)
    assert {name.partition("/")[0] for name in heldout} == {"Gamma"}, "the last third by name"
    assert len(calibration) == 3
    assert len(train) == 10
    assert not set(train) & set(calibration)
    assert split_characters(drawings, 3, seed=0) == (train, calibration, heldout)
    assert split_characters(drawings, 3, seed=1).calibration != calibration
    named = split_characters(drawings, 3, seed=0, heldout=["Alpha"])
    assert {name.partition("/")[0] for name in named.heldout} == {"Alpha"}
    with pytest.raises(UnknownNameError, match="Did you mean 'Alpha'"):
        split_characters(drawings, 3, seed=0, heldout=["alpa"])
    with pytest.raises(DataError, match="13 characters are not held out: expected 14 or more"):
        split_characters(drawings, 7, seed=0)


def test_the_official_evaluation_set_is_held_out(tmp_path: Path) -> None:
    write_zip(tmp_path / "images_background.zip", files("images_background", {"Beta": 6, "Gamma": 6}))
    write_zip(tmp_path / "images_evaluation.zip", files("images_evaluation", {"Alpha": 5}))
    heldout = split_characters(read_drawings(tmp_path), 3, seed=0).heldout
    assert {name.partition("/")[0] for name in heldout} == {"Alpha"}
    assert len(heldout) == 5


def test_what_cannot_be_read_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="has no drawings"):
        read_drawings(tmp_path)
    with pytest.raises(DataError, match="is not a folder"):
        read_drawings(tmp_path / "absent")
    (tmp_path / "images_background.zip").write_bytes(b"not a zip")
    with pytest.raises(DataError, match=r"cannot read .*images_background"):
        read_drawings(tmp_path)
    write_zip(tmp_path / "images_background.zip", {"images_background/A/character01/0001_01.png": b"no picture"})
    with pytest.raises(DataError, match=r"cannot read .*0001_01"):
        read_drawings(tmp_path)
