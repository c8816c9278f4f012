"""Checkpoints: round trip, deletion of old ones, damaged files, failed writes."""

from __future__ import annotations

import os
import random
from pathlib import Path

import numpy as np
import pytest
from tests.server.fake import random_tree, same_bits

from tegu.core.errors import FederationError, FileError
from tegu.server.evaluation.early_stopping import Best, ValidationHistory
from tegu.server.evaluation.validation import Validation
from tegu.server.training.checkpoint import (
    KEEP,
    Checkpoint,
    latest_checkpoint,
    newest_round,
    read_checkpoint,
    remove_checkpoints,
    write_checkpoint,
)
from tegu.server.training.outer_optimiser import OuterState

DAMAGES = int(os.environ.get("TEGU_DAMAGES", "600"))


def checkpoint(number: int) -> Checkpoint:
    slots = {"0000": np.array(3.5, np.float32), "0001": np.arange(4, dtype=np.int64)}
    return Checkpoint(number, random_tree(number), OuterState(slots, '{"optimiser": "adam"}'))


def test_a_written_checkpoint_is_read_unchanged(tmp_path: Path) -> None:
    written = checkpoint(3)
    read = read_checkpoint(write_checkpoint(tmp_path / "new" / "folder", written))
    assert (read.round, read.outer.rest) == (3, written.outer.rest)
    assert same_bits(read.meta, written.meta)
    assert same_bits(read.outer.arrays, written.outer.arrays)


def test_only_the_newest_checkpoints_are_kept(tmp_path: Path) -> None:
    for number in (1, 2, 9, 10, 11, 100):
        write_checkpoint(tmp_path, checkpoint(number))
    assert [path.name for path in sorted(tmp_path.iterdir())] == [
        f"round-{number:06d}.safetensors" for number in (10, 11, 100)[-KEEP:]
    ]
    found = latest_checkpoint(tmp_path)
    assert found is not None
    assert found.round == 100


def test_removal_includes_the_folds_checkpoints(tmp_path: Path) -> None:
    for folder in (tmp_path, tmp_path / "fold-0", tmp_path / "fold-11"):
        write_checkpoint(folder, checkpoint(3))
    (tmp_path / "kept.txt").touch()
    remove_checkpoints(tmp_path)
    assert [path.name for path in tmp_path.rglob("*") if path.is_file()] == ["kept.txt"]
    remove_checkpoints(tmp_path / "absent")


def test_a_folder_without_checkpoints_gives_none(tmp_path: Path) -> None:
    assert latest_checkpoint(tmp_path / "absent") is None
    assert latest_checkpoint(tmp_path) is None


@pytest.mark.parametrize("damage", ["truncated", "text", "empty", "foreign"])
def test_a_damaged_file_is_an_error(tmp_path: Path, damage: str) -> None:
    path = write_checkpoint(tmp_path, checkpoint(2))
    data = path.read_bytes()
    foreign = data.replace(b'"round"', b'"roond"')
    path.write_bytes({"truncated": data[:-8], "text": b"no checkpoint", "empty": b"", "foreign": foreign}[damage])
    with pytest.raises(FederationError, match=r"round-000002\.safetensors is not a readable .*delete it to resume"):
        read_checkpoint(path)
    with pytest.raises(FederationError, match=r"none of the 1 checkpoints in .* can be read: delete the folder"):
        latest_checkpoint(tmp_path)


@pytest.mark.parametrize("part", ["a parameter", "the optimiser's state", "the header"])
def test_a_damaged_newest_checkpoint_is_skipped_with_a_warning(
    tmp_path: Path, part: str, caplog: pytest.LogCaptureFixture
) -> None:
    """One bit is flipped where the file stays readable."""
    before, last = checkpoint(2), checkpoint(3)
    write_checkpoint(tmp_path, before)
    path = write_checkpoint(tmp_path, last)
    data = bytearray(path.read_bytes())
    needle = {
        "a parameter": last.meta["weight"].tobytes(),
        "the optimiser's state": last.outer.arrays["0001"].tobytes(),
        "the header": b"adam",
    }[part]
    data[data.index(needle)] ^= 1
    path.write_bytes(data)
    found = latest_checkpoint(tmp_path)
    assert found is not None
    assert (found.round, same_bits(found.meta, before.meta)) == (2, True)
    (record,) = caplog.records
    assert (record.levelname, "round-000003.safetensors is skipped" in record.getMessage()) == ("WARNING", True)


def damaged(data: bytes, rng: random.Random) -> bytes:
    """A checkpoint with altered, missing, added, reversed or renamed bytes, half of them in the header."""
    changed, end = bytearray(data), rng.choice([8 + int.from_bytes(data[:8], "little"), len(data)])
    match rng.randrange(6):
        case 0:
            changed[rng.randrange(end)] ^= 1 << rng.randrange(8)
        case 1:
            for _ in range(rng.randint(1, 20)):
                changed[rng.randrange(end)] = rng.randrange(256)
        case 2:
            del changed[rng.randrange(end) :]
        case 3:
            changed += rng.randbytes(rng.randint(1, 50))
        case 4:
            begin, stop = sorted(rng.sample(range(end), 2))
            changed[begin:stop] = changed[begin:stop][::-1]
        case _:
            dtype = rng.choice([b"F16", b"BF16", b"I32", b"U64", b"BOOL", b"F8_E4M3", b"C64", b"F4", b"X1"])
            return data.replace(rng.choice([b"F32", b"I64"]), dtype)
    return bytes(changed)


def test_no_damage_is_taken_or_gives_a_foreign_error(tmp_path: Path) -> None:
    """600 ways of it. 20,000 were tried once: none was taken, and all were a `FederationError`."""
    rng, best = random.Random(0), Best(2, random_tree(2))
    history = ValidationHistory((Validation(1, 0.5, 0.6, 0.7, 0.1, 0.01, 0.02),), best)
    path = write_checkpoint(tmp_path, checkpoint(3)._replace(history=history))
    data = path.read_bytes()
    assert read_checkpoint(path).history.validations == history.validations
    for _ in range(DAMAGES):
        path.write_bytes(found := damaged(data, rng))
        if found != data:
            with pytest.raises(FederationError, match="is not a readable checkpoint"):
                read_checkpoint(path)


def test_the_newest_round_counts_the_folds(tmp_path: Path) -> None:
    assert newest_round(tmp_path) is None
    for folder, number in ((tmp_path / "fold-0", 7), (tmp_path / "fold-1", 12), (tmp_path, 3)):
        write_checkpoint(folder, checkpoint(number))
    assert newest_round(tmp_path) == 12


def test_a_failed_write_keeps_the_previous_checkpoint(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_checkpoint(tmp_path, checkpoint(1))

    def full(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(FileError, match=r"round-000002\.safetensors .*No space left"):
        write_checkpoint(tmp_path, checkpoint(2))
    assert [path.name for path in tmp_path.iterdir()] == ["round-000001.safetensors"]
    found = latest_checkpoint(tmp_path)
    assert found is not None
    assert found.round == 1


def test_a_file_in_place_of_the_folder_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "checkpoints").write_text("a file")
    with pytest.raises(FileError, match=r"checkpoints .*choose a writable folder"):
        write_checkpoint(tmp_path / "checkpoints", checkpoint(1))
