"""Files that are no bundles, and try to take time or memory all the same."""

from __future__ import annotations

import io
import os
import struct
import time
import zipfile
from pathlib import Path

import pytest
from tests.core.samples import bundle, put, refused

from tegu.core.bundle.file import read_bundle, write_bundle
from tegu.core.errors import BundleError


@pytest.fixture
def file(tmp_path: Path) -> Path:
    write_bundle(tmp_path / "good.tegu", bundle())
    return tmp_path / "good.tegu"


def test_a_named_pipe_is_refused_without_waiting(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.tegu")
    with refused(BundleError, "cannot read", "no regular file"):
        read_bundle(tmp_path / "pipe.tegu")


@pytest.mark.parametrize("path", ["/dev/zero", "/dev/stdin", "/dev", "/proc/self/mem"])
def test_devices_folders_and_endless_files_are_refused(path: str) -> None:
    with refused(BundleError, path):
        read_bundle(path)


def test_an_endless_file_object_is_read_up_to_the_limit() -> None:
    with Path("/dev/zero").open("rb") as zeros, refused(BundleError, "has 1001 bytes", "more than the 1000 allowed"):
        read_bundle(zeros, max_bytes=1000)


def test_no_descriptor_is_left_open(tmp_path: Path, file: Path) -> None:
    before = len([*Path("/proc/self/fd").iterdir()])
    for path in ("/dev/zero", file, put(tmp_path / "noise", b"PK")):
        try:
            read_bundle(path)
        except BundleError:
            continue
    assert len([*Path("/proc/self/fd").iterdir()]) == before


def many(entries: int) -> bytes:
    """A zip of so many empty members, without asking zipfile for each."""
    one = struct.pack("<4s4B4HL2L5H2L", b"PK\x01\x02", 20, 3, 20, 0, 0, 0, 0, 0x21, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0) + b"a"
    return one * entries + struct.pack("<4s4H2LH", b"PK\x05\x06", 0, 0, 1, 1, len(one) * entries, 0, 0)


@pytest.mark.parametrize("comment", [b"", b"a comment"])
def test_millions_of_members_are_refused_before_they_are_listed(tmp_path: Path, comment: bytes) -> None:
    data = many(1_000_000)
    path = put(tmp_path / "many.tegu", data[:-2] + struct.pack("<H", len(comment)) + comment)
    started = time.process_time()
    with refused(BundleError, "too many members to be a bundle"):
        read_bundle(path)
    assert time.process_time() - started < 1


def test_some_hundred_members_are_not_listed_in_full(tmp_path: Path) -> None:
    with pytest.raises(BundleError, match="unexpected members") as caught:
        read_bundle(put(tmp_path / "some.tegu", many(500)))
    assert len(str(caught.value)) < 1000


def test_the_kind_of_zip_for_large_files_is_refused(tmp_path: Path, file: Path) -> None:
    data = file.read_bytes()
    record = b"PK\x06\x07" + bytes(16)
    with refused(BundleError, "too many members"):
        read_bundle(put(tmp_path / "large.tegu", data[:-22] + record + data[-22:]))


def test_a_zip_that_grows_is_refused(tmp_path: Path, file: Path) -> None:
    buffer = io.BytesIO()
    with zipfile.ZipFile(file) as members, zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as bomb:
        for name in members.namelist():
            bomb.writestr(name, bytes(10_000_000) if name == "meta.safetensors" else members.read(name))
    assert len(buffer.getvalue()) < 100_000
    with refused(BundleError, "are compressed"):
        read_bundle(put(tmp_path / "bomb.tegu", buffer.getvalue()))
