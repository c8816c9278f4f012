"""Everything that can be wrong with a file that calls itself a bundle."""

from __future__ import annotations

import io
import json
import pickle
import struct
import warnings
import zipfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.core.samples import bundle, members_of, put, refused, same_bundle, zipped

from tegu.core.bundle import signing
from tegu.core.bundle.file import GRAPHS, Bundle, read_bundle, tree_from_bytes, tree_to_bytes, write_bundle
from tegu.core.bundle.manifest import FORMAT
from tegu.core.errors import BundleError, SignatureError

REQUIRED = ("manifest.json", "meta.safetensors", *(f"{name}.onnx" for name in GRAPHS))
PRIVATE, PUBLIC = signing.new_key_pair()


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("damaged")


@pytest.fixture(scope="module")
def good(folder: Path) -> Bundle:
    return write_bundle(folder / "good.tegu", bundle(), PRIVATE)


@pytest.fixture(scope="module")
def data(folder: Path, good: Bundle) -> bytes:
    return (folder / "good.tegu").read_bytes()


@pytest.fixture
def members(data: bytes) -> dict[str, bytes]:
    return members_of(data)


def flipped(data: bytes, position: int, mask: int) -> bytes:
    return data[:position] + bytes([data[position] ^ mask]) + data[position + 1 :]


def directory(data: bytes) -> int:
    """Where the zip's central directory begins."""
    return data.index(b"PK\x01\x02")


# The bytes of the file


def test_truncated_anywhere(tmp_path: Path, data: bytes) -> None:
    for length in range(len(data)):
        with refused(BundleError, "cut.tegu is truncated or not a bundle", "fetch it again"):
            read_bundle(put(tmp_path / "cut.tegu", data[:length]))


def test_with_its_beginning_or_middle_cut_out(tmp_path: Path, data: bytes) -> None:
    for start, end in [(0, 1), (0, 100), (50, 60), (len(data) // 2, len(data) // 2 + 1), (directory(data) - 9, -30)]:
        with refused(BundleError, "fetch it again"):
            read_bundle(put(tmp_path / "cut.tegu", data[:start] + data[end:]))


@pytest.mark.parametrize("name", [*REQUIRED, "manifest.sig"])
def test_a_flipped_bit_in_a_member(tmp_path: Path, data: bytes, members: dict[str, bytes], name: str) -> None:
    start = data.index(members[name])
    for position in range(start, start + len(members[name])):
        with refused(BundleError, name, "fetch it again"):
            read_bundle(put(tmp_path / "bit.tegu", flipped(data, position, 1 << position % 8)))


def refused_or_the_same(path: Path, good: Bundle) -> bool:
    """Whether it was refused, and never with anything but a BundleError."""
    try:
        found = read_bundle(path, PUBLIC)
    except BundleError:
        return True
    assert same_bundle(found, good)
    return False


def test_a_flipped_bit_at_every_position(tmp_path: Path, data: bytes, good: Bundle) -> None:
    """Some bytes carry nothing (time stamps, attributes): there the bundle must read as it was."""
    path = tmp_path / "bit.tegu"
    outcomes = [refused_or_the_same(put(path, flipped(data, i, 1 << i % 8)), good) for i in range(len(data))]
    assert sum(outcomes) > 0.7 * len(data)


@given(position=st.floats(0, 1, exclude_max=True), mask=st.integers(1, 255))
@settings(deadline=None, max_examples=300)
def test_any_altered_byte(folder: Path, data: bytes, good: Bundle, position: float, mask: int) -> None:
    refused_or_the_same(put(folder / "byte.tegu", flipped(data, int(position * len(data)), mask)), good)


@given(changes=st.lists(st.tuples(st.floats(0, 1, exclude_max=True), st.binary(max_size=9)), min_size=1, max_size=6))
@settings(deadline=None, max_examples=300)
def test_any_damage_to_the_directory(
    folder: Path, data: bytes, good: Bundle, changes: list[tuple[float, bytes]]
) -> None:
    damaged = data
    for where, written in changes:
        position = directory(data) + int(where * (len(data) - directory(data)))
        damaged = damaged[:position] + written + damaged[position + len(written) :]
    refused_or_the_same(put(folder / "directory.tegu", damaged), good)


@pytest.mark.parametrize("noise", [b"", b"PK", b"just text", pickle.dumps({"w": 1}), bytes(1000)])
def test_what_is_no_zip(tmp_path: Path, noise: bytes) -> None:
    with refused(BundleError, "noise.tegu is truncated or not a bundle", "fetch it again"):
        read_bundle(put(tmp_path / "noise.tegu", noise))


def test_an_empty_zip(tmp_path: Path) -> None:
    with refused(BundleError, f"missing {sorted(REQUIRED)}", "found []", "write one with write_bundle"):
        read_bundle(put(tmp_path / "empty.tegu", zipped({})))


@pytest.mark.parametrize("where", ["absent.tegu", "", "file/a.tegu"])
def test_what_cannot_be_opened(tmp_path: Path, where: str) -> None:
    put(tmp_path / "file", b"")
    with refused(BundleError, f"cannot read {tmp_path / where}", "check the path, or fetch it again"):
        read_bundle(tmp_path / where)


def test_a_path_with_a_nul(tmp_path: Path) -> None:
    with refused(BundleError, "null "):
        read_bundle(tmp_path / "a\0b.tegu")


def test_oversized(tmp_path: Path, data: bytes, good: Bundle) -> None:
    path, size = put(tmp_path / "big.tegu", data), len(data)
    assert same_bundle(read_bundle(path, max_bytes=size), good)
    with refused(BundleError, f"{size} bytes", f"the {size - 1} allowed", "raise max_bytes"):
        read_bundle(path, max_bytes=size - 1)


def test_oversized_is_seen_before_it_is_read(tmp_path: Path) -> None:
    with (tmp_path / "sparse.tegu").open("wb") as file:
        file.truncate(1 << 40)
    with refused(BundleError, 1 << 40, 1 << 30):
        read_bundle(tmp_path / "sparse.tegu")


# The members of the zip: all below have correct checksums


def test_a_repacked_bundle_is_read(tmp_path: Path, members: dict[str, bytes], good: Bundle) -> None:
    """The base of the tests below: nothing but the change they make is refused."""
    assert same_bundle(read_bundle(put(tmp_path / "a.tegu", zipped(members)), PUBLIC), good)
    assert same_bundle(read_bundle(put(tmp_path / "a.tegu", zipped(dict(reversed(members.items()))))), good)


@pytest.mark.parametrize(
    "name",
    [
        "../escaped",
        "/tmp/escaped",
        "a/../../escaped",
        "C:\\escaped",
        "notes.txt",
        "meta.pkl",
        "Manifest.json",
        "sub/",
        "",
    ],
)
def test_an_unexpected_member(tmp_path: Path, members: dict[str, bytes], name: str) -> None:
    path = put(tmp_path / "inner.tegu", zipped({**members, name: b""}))
    with refused(BundleError, f"unexpected members [{name!r}]", "write one with write_bundle"):
        read_bundle(path)
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("name", REQUIRED)
def test_a_member_under_a_path(tmp_path: Path, members: dict[str, bytes], name: str) -> None:
    moved = {("../" + key if key == name else key): value for key, value in members.items()}
    with refused(BundleError, f"'../{name}'", f"missing [{name!r}]"):
        read_bundle(put(tmp_path / "a.tegu", zipped(moved)))


@pytest.mark.parametrize("name", [*REQUIRED, "manifest.sig"])
@pytest.mark.parametrize("other", [False, True])
def test_a_duplicated_member(tmp_path: Path, members: dict[str, bytes], name: str, other: bool) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # zipfile warns of the duplicate that this test is about
        twice = zipped([*members.items(), (name, b"other" if other else members[name])])
    with refused(BundleError, f"found {[*members, name]}", "not a bundle"):
        read_bundle(put(tmp_path / "a.tegu", twice))


@pytest.mark.parametrize("name", REQUIRED)
def test_a_missing_member(tmp_path: Path, members: dict[str, bytes], name: str) -> None:
    del members[name]
    with refused(BundleError, f"missing [{name!r}]", "write one with write_bundle"):
        read_bundle(put(tmp_path / "a.tegu", zipped(members)))


@pytest.mark.parametrize("method", [zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
@pytest.mark.parametrize("name", [*REQUIRED, "manifest.sig"])
def test_a_compressed_member(tmp_path: Path, members: dict[str, bytes], name: str, method: int) -> None:
    with refused(BundleError, f"[{name!r}] are compressed", "write_bundle"):
        read_bundle(put(tmp_path / "a.tegu", zipped(members, {name: method})))


def test_an_encrypted_member(tmp_path: Path, data: bytes) -> None:
    with refused(BundleError, "encrypted", "fetch it again"):
        read_bundle(put(tmp_path / "a.tegu", flipped(data, directory(data) + 8, 1)))


def test_a_member_that_claims_more_than_the_file_has(tmp_path: Path, data: bytes) -> None:
    lie = bytearray(data)
    struct.pack_into("<I", lie, directory(data) + 24, 0xFFFFFFF0)
    with refused(BundleError, "the members claim 42949", f"the file has {len(data)}", "fetch the bundle again"):
        read_bundle(put(tmp_path / "a.tegu", bytes(lie)))


@pytest.mark.parametrize("value", [2**64 - 1, 2**63 - 1, 2**40])
def test_a_member_far_beyond_the_file(tmp_path: Path, data: bytes, value: int) -> None:
    """A 64-bit offset, which makes `seek` fail in its own way."""
    start, end = directory(data), data.rindex(b"PK\x05\x06")
    entry, rest, tail = bytearray(data[start:end]), data[:start], bytearray(data[end:])
    name_length = struct.unpack_from("<H", entry, 28)[0]
    struct.pack_into("<I", entry, 42, 0xFFFFFFFF)
    struct.pack_into("<H", entry, 30, 12)
    entry[46 + name_length : 46 + name_length] = struct.pack("<HHQ", 1, 8, value)
    struct.pack_into("<I", tail, 12, len(entry))
    with refused(BundleError, "far.tegu"):
        read_bundle(put(tmp_path / "far.tegu", rest + bytes(entry) + bytes(tail)))


@pytest.mark.parametrize("name", REQUIRED[1:])
def test_another_content_under_correct_checksums(tmp_path: Path, members: dict[str, bytes], name: str) -> None:
    members[name] = members[name] + b" "
    with refused(BundleError, f"{name} has sha256", "the manifest says", "fetch the bundle again"):
        read_bundle(put(tmp_path / "a.tegu", zipped(members)))


def test_two_graphs_that_changed_places(tmp_path: Path, members: dict[str, bytes]) -> None:
    members["adapt.onnx"], members["update.onnx"] = members["update.onnx"], members["adapt.onnx"]
    with refused(BundleError, "adapt.onnx has sha256"):
        read_bundle(put(tmp_path / "a.tegu", zipped(members)))


def restated(members: dict[str, bytes], changes: dict[str, Any]) -> dict[str, bytes]:
    """The members under a manifest with these fields."""
    body = json.loads(members["manifest.json"])
    return {**members, "manifest.json": json.dumps(body | changes).encode()}


@pytest.mark.parametrize("claimed", [{}, {"meta.safetensors": "00"}])
def test_a_manifest_that_claims_other_members(
    tmp_path: Path, members: dict[str, bytes], claimed: dict[str, str]
) -> None:
    with refused(BundleError, "meta.safetensors has sha256", str(claimed.get("meta.safetensors"))):
        read_bundle(put(tmp_path / "a.tegu", zipped(restated(members, {"members": claimed}))))


def test_another_format_version(tmp_path: Path, members: dict[str, bytes]) -> None:
    with refused(BundleError, "format version 99", f"reads {FORMAT}", "upgrade tegu"):
        read_bundle(put(tmp_path / "a.tegu", zipped(restated(members, {"format": 99}))))


@pytest.mark.parametrize("changes", [{"members": []}, {"knobs": 3}, {"spec": None}, {"schedule": "none"}])
def test_a_manifest_of_wrong_types(tmp_path: Path, members: dict[str, bytes], changes: dict[str, Any]) -> None:
    with refused(BundleError, f"found {next(iter(changes.values()))!r}", "export it again"):
        read_bundle(put(tmp_path / "a.tegu", zipped(restated(members, changes))))


@pytest.mark.parametrize("manifest", [b"", b"\xff", b"[" * 100_000, b"9" * 5000])
def test_a_manifest_that_is_none(tmp_path: Path, members: dict[str, bytes], manifest: bytes) -> None:
    with refused(BundleError, "the manifest is not JSON (", "fetch the bundle again"):
        read_bundle(put(tmp_path / "a.tegu", zipped({**members, "manifest.json": manifest})))


# The arrays


def header(**entry: Any) -> bytes:
    text = json.dumps({"w": {"dtype": "F32", "shape": [1], "data_offsets": [0, 4], **entry}}).encode()
    return struct.pack("<Q", len(text)) + text + bytes(4)


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b"\x80\x04K\x01.",
        b"\xff" * 8,
        header()[:-1],
        header(shape=[9]),
        header(shape=[-1]),
        header(dtype="F99"),
        header(dtype="BF16", data_offsets=[0, 2]),
        header(dtype="BF16", shape=[2]),
        header(data_offsets=[0, 1 << 60]),
    ],
)
def test_arrays_that_are_not_safetensors(tmp_path: Path, raw: bytes) -> None:
    with refused(BundleError, "not readable safetensors (", "fetch the bundle again"):
        tree_from_bytes(raw)


def test_a_valid_header_is_read() -> None:
    assert tree_from_bytes(header())["w"].tolist() == [0]


@given(st.data())
@settings(deadline=None, max_examples=200)
def test_altered_arrays_are_refused_or_read(data: st.DataObject) -> None:
    raw = tree_to_bytes(bundle().meta)
    for _ in range(data.draw(st.integers(1, 3))):
        raw = flipped(raw, data.draw(st.integers(0, len(raw) - 1)), data.draw(st.integers(1, 255)))
    try:
        found = tree_from_bytes(raw)
    except BundleError:
        return
    assert all(isinstance(array, np.ndarray) for array in found.values())


# The signature


def test_a_signed_bundle_is_read_with_and_without_its_key(folder: Path, good: Bundle) -> None:
    assert same_bundle(read_bundle(folder / "good.tegu", PUBLIC), good)
    assert same_bundle(read_bundle(folder / "good.tegu"), good)


def test_an_unsigned_bundle_where_a_key_is_given(tmp_path: Path, members: dict[str, bytes]) -> None:
    del members["manifest.sig"]
    path = put(tmp_path / "a.tegu", zipped(members))
    read_bundle(path)
    with refused(SignatureError, "not signed", PUBLIC.hex(), "sign it when writing it"):
        read_bundle(path, PUBLIC)


WRONG = {"empty": b"", "short": b"x", "zeros": bytes(64), "other message": signing.sign(PRIVATE, b"another message")}


@pytest.mark.parametrize("wrong", WRONG)
def test_a_wrong_signature(tmp_path: Path, members: dict[str, bytes], wrong: str) -> None:
    path = put(tmp_path / "a.tegu", zipped({**members, "manifest.sig": WRONG[wrong]}))
    with refused(SignatureError, "does not match", PUBLIC.hex(), "fetch it again"):
        read_bundle(path, PUBLIC)


def test_another_key(tmp_path: Path, folder: Path, good: Bundle) -> None:
    private, public = signing.new_key_pair()
    with refused(SignatureError, "another key", public.hex()):
        read_bundle(folder / "good.tegu", public)
    write_bundle(tmp_path / "a.tegu", bundle(), private)
    with refused(SignatureError, "another key", PUBLIC.hex()):
        read_bundle(tmp_path / "a.tegu", PUBLIC)


@pytest.mark.parametrize("size", [0, 31, 33])
def test_a_key_that_is_none(folder: Path, good: Bundle, size: int) -> None:
    with refused(SignatureError, f"public key has {size} bytes", "32"):
        read_bundle(folder / "good.tegu", bytes(size))


def test_a_tampered_manifest_under_the_old_signature(tmp_path: Path, members: dict[str, bytes]) -> None:
    path = put(tmp_path / "a.tegu", zipped(restated(members, {"knobs": {"lr": 9.0}, "unadapted": {"lr": 0.0}})))
    assert read_bundle(path).manifest.knobs == {"lr": 9.0}
    with refused(SignatureError, "was altered", "fetch it again"):
        read_bundle(path, PUBLIC)


def test_tampered_arrays_with_a_manifest_to_match(tmp_path: Path, members: dict[str, bytes]) -> None:
    forged = write_bundle(tmp_path / "forged.tegu", replace(bundle(), meta={"w": np.full(3, 666.0)}))
    path = tmp_path / "forged.tegu"
    put(path, zipped({**members_of(path.read_bytes()), "manifest.sig": members["manifest.sig"]}))
    assert same_bundle(read_bundle(path), forged)
    with refused(SignatureError, "was altered"):
        read_bundle(path, PUBLIC)


def test_tampered_arrays_under_the_signed_manifest(tmp_path: Path, members: dict[str, bytes]) -> None:
    members["meta.safetensors"] = tree_to_bytes({"w": np.full(3, 666.0)})
    with refused(BundleError, "meta.safetensors has sha256"):
        read_bundle(put(tmp_path / "a.tegu", zipped(members)), PUBLIC)


def test_the_signature_is_checked_before_the_manifest_is_read(tmp_path: Path, members: dict[str, bytes]) -> None:
    members["manifest.json"] = b"[" * 100_000
    with refused(SignatureError, "was altered"):
        read_bundle(put(tmp_path / "a.tegu", zipped(members)), PUBLIC)


def test_zip_comments_and_leading_bytes_carry_nothing(tmp_path: Path, data: bytes, good: Bundle) -> None:
    buffer = io.BytesIO(data)
    with zipfile.ZipFile(buffer, "a") as archive:
        archive.comment = b"a comment"
    assert same_bundle(read_bundle(put(tmp_path / "a.tegu", b"#!prefix\n" + buffer.getvalue()), PUBLIC), good)
