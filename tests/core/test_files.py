"""Files that are written whole or not at all, and who says what where they cannot be."""

from __future__ import annotations

import errno
import os
import stat
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.core.samples import bundle, refused

from tegu.core.bundle.file import write_bundle
from tegu.core.errors import BundleError, FileError
from tegu.core.files import atomic_write, make_folder

FULL = OSError(errno.ENOSPC, "No space left on device")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("files")


@given(st.binary(max_size=50))
@settings(deadline=None, max_examples=20)
def test_the_bytes_are_written(folder: Path, data: bytes) -> None:
    atomic_write(folder / "bytes", data)
    assert (folder / "bytes").read_bytes() == data


def test_others_may_read_unless_told_otherwise(tmp_path: Path) -> None:
    atomic_write(tmp_path / "public", b"")
    atomic_write(tmp_path / "private", b"", mode=0o600)
    modes = [stat.S_IMODE((tmp_path / name).stat().st_mode) for name in ("public", "private")]
    assert modes == [0o644, 0o600]


@pytest.mark.parametrize("where", ["missing/file", "taken/file", "folder", "a\0b"])
def test_a_path_that_cannot_be_written_leaves_nothing_behind(tmp_path: Path, where: str) -> None:
    (tmp_path / "taken").write_bytes(b"not a folder")
    (tmp_path / "folder").mkdir()
    with refused(FileError, f"cannot write {tmp_path / where} (", "choose a writable folder that exists"):
        atomic_write(tmp_path / where, b"data")
    assert {path.name for path in tmp_path.rglob("*")} == {"taken", "folder"}


@pytest.mark.parametrize("failure", [FULL, KeyboardInterrupt(), MemoryError()])
@pytest.mark.parametrize("step", ["fsync", "chmod", "replace"])
def test_an_interrupted_write_leaves_the_old_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: str, failure: BaseException
) -> None:
    def fail(*arguments: object, **options: object) -> None:
        raise failure

    atomic_write(tmp_path / "file", b"old")
    with monkeypatch.context() as patch:
        patch.setattr(os, step, fail)
        with pytest.raises(FileError if failure is FULL else type(failure)) as caught:
            atomic_write(tmp_path / "file", b"new")
    if failure is FULL:
        assert "No space left on device" in str(caught.value)
    assert os.listdir(tmp_path) == ["file"]  # noqa: PTH208
    assert (tmp_path / "file").read_bytes() == b"old"


def test_a_bundle_that_cannot_be_written_is_an_error_of_bundles(tmp_path: Path) -> None:
    with refused(BundleError, f"cannot write {tmp_path / 'none/a.tegu'} (", "choose a writable folder that exists"):
        write_bundle(tmp_path / "none/a.tegu", bundle())


def test_a_folder_is_made_with_those_above_it(tmp_path: Path) -> None:
    make_folder(tmp_path / "a/b")
    make_folder(tmp_path / "a/b")
    assert (tmp_path / "a/b").is_dir()


@pytest.mark.parametrize("where", ["taken", "taken/below", "a\0b"])
def test_a_folder_that_cannot_be_made(tmp_path: Path, where: str) -> None:
    (tmp_path / "taken").write_bytes(b"not a folder")
    with refused(FileError, f"cannot make the folder {tmp_path / where} (", "choose a writable folder"):
        make_folder(tmp_path / where)
    assert [path.name for path in tmp_path.iterdir()] == ["taken"]
