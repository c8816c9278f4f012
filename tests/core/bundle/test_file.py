from __future__ import annotations

import os
import sys
import zipfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.core.samples import bundle, manifests, members_of, refused, same_bundle, same_tree, trees

from tegu.core.bundle.file import (
    GRAPHS,
    Bundle,
    read_bundle,
    signing,
    tree_from_bytes,
    tree_to_bytes,
    write_bundle,
)
from tegu.core.bundle.manifest import Manifest
from tegu.core.data.tree import Tree, digest
from tegu.core.errors import BundleError, MissingExtraError, SignatureError


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("bundles")


@given(trees)
@settings(deadline=None)
def test_a_tree_survives_its_bytes(tree: Tree) -> None:
    assert same_tree(tree_from_bytes(tree_to_bytes(tree)), {name: array.copy() for name, array in tree.items()})
    assert digest(tree_from_bytes(tree_to_bytes(tree))) == digest(tree)


@given(trees, manifests(), st.tuples(*[st.binary(max_size=30)] * 3), st.booleans())
@settings(deadline=None, max_examples=50)
def test_round_trip(folder: Path, meta: Tree, manifest: Manifest, graphs: tuple[bytes, ...], signed: bool) -> None:
    private, public = signing.new_key_pair() if signed else (None, None)
    original = Bundle(manifest, meta, dict(zip(GRAPHS, graphs, strict=True)))
    written = write_bundle(folder / "round.tegu", original, private)
    found = read_bundle(folder / "round.tegu", public)
    assert same_bundle(found, written)
    assert replace(found.manifest, members={}) == replace(manifest, members={})
    assert same_tree(found.meta, meta)
    assert found.identity == original.identity == written.identity


@given(trees)
@settings(deadline=None, max_examples=30)
def test_writing_changes_nothing_and_reversed_entries_give_the_same_file(folder: Path, meta: Tree) -> None:
    before = digest(meta)
    write_bundle(folder / "a.tegu", replace(bundle(), meta=meta))
    write_bundle(folder / "b.tegu", replace(bundle(), meta={name: meta[name] for name in reversed(list(meta))}))
    assert digest(meta) == before
    assert (folder / "a.tegu").read_bytes() == (folder / "b.tegu").read_bytes()


def test_the_file_holds_the_documented_members(tmp_path: Path) -> None:
    write_bundle(tmp_path / "a.tegu", bundle(), signing.new_key_pair()[0])
    names = ["manifest.json", "meta.safetensors", "adapt.onnx", "predict.onnx", "update.onnx", "manifest.sig"]
    assert list(members_of((tmp_path / "a.tegu").read_bytes())) == names


def test_the_file_holds_no_time_of_writing(tmp_path: Path) -> None:
    write_bundle(tmp_path / "a.tegu", bundle())
    with zipfile.ZipFile(tmp_path / "a.tegu") as archive:
        assert {info.date_time for info in archive.infolist()} == {(1980, 1, 1, 0, 0, 0)}


def test_the_file_may_be_handed_out(tmp_path: Path) -> None:
    write_bundle(tmp_path / "a.tegu", bundle())
    assert (tmp_path / "a.tegu").stat().st_mode & 0o777 == 0o644


def test_read_arrays_can_be_written_to(tmp_path: Path) -> None:
    """torch warns of arrays that cannot."""
    write_bundle(tmp_path / "a.tegu", bundle())
    assert all(array.flags.writeable for array in read_bundle(tmp_path / "a.tegu").meta.values())


def test_a_newer_bundle_replaces_the_file(tmp_path: Path) -> None:
    write_bundle(tmp_path / "a.tegu", bundle())
    newer = write_bundle(str(tmp_path / "a.tegu"), replace(bundle(), meta={"w": np.ones(2)}))
    assert same_bundle(read_bundle(str(tmp_path / "a.tegu")), newer)
    assert os.listdir(tmp_path) == ["a.tegu"]  # noqa: PTH208


@pytest.mark.parametrize(
    ("changed", "same"),
    [
        (bundle(), True),
        (replace(bundle(), manifest=replace(bundle().manifest, training={"rounds": 3})), True),
        (replace(bundle(), meta={name: bundle().meta[name] for name in ("scalar", "w")}), True),
        (replace(bundle(), meta={**bundle().meta, "scalar": np.array(3)}), False),
        (replace(bundle(), graphs={**bundle().graphs, "update": b"other"}), False),
        (replace(bundle(), graphs=dict(zip(GRAPHS, reversed(list(bundle().graphs.values())), strict=True))), False),
    ],
)
def test_identity_is_that_of_arrays_and_graphs(tmp_path: Path, changed: Bundle, same: bool) -> None:
    assert (changed.identity == bundle().identity) == same
    written = write_bundle(tmp_path / "a.tegu", changed)
    assert (written.identity == bundle().identity) == same


def test_identity_follows_newer_arrays(tmp_path: Path) -> None:
    """A device fetches new `meta` only; the digests it read with the old one must not speak for it."""
    old = write_bundle(tmp_path / "a.tegu", bundle())
    assert replace(old, meta={"w": np.zeros(2)}).identity != old.identity


@pytest.mark.parametrize("graphs", [{}, {"adapt": b""}, {**dict.fromkeys(GRAPHS, b""), "extra": b""}])
def test_other_graphs_are_refused(tmp_path: Path, graphs: dict[str, bytes]) -> None:
    with refused(BundleError, sorted(graphs), sorted(GRAPHS)):
        write_bundle(tmp_path / "a.tegu", replace(bundle(), graphs=graphs))
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("meta", "found", "fix"),
    [
        ({"w": np.zeros(2, complex)}, "complex128", "real numbers"),
        ({"w": np.array(["text"])}, "str", "real numbers"),
        ({"w": np.array([None])}, "object", "real numbers"),
        ({"\ud800": np.zeros(2)}, "\\ud800", "printable names"),
        ({"__metadata__": np.zeros(2)}, "__metadata__", "rename it"),
    ],
)
def test_arrays_that_safetensors_lacks_are_refused(tmp_path: Path, meta: Tree, found: str, fix: str) -> None:
    with refused(BundleError, found, fix):
        write_bundle(tmp_path / "a.tegu", replace(bundle(), meta=meta))
    assert not list(tmp_path.iterdir())


def test_a_wrong_private_key_leaves_the_old_file(tmp_path: Path) -> None:
    old = write_bundle(tmp_path / "a.tegu", bundle())
    with refused(SignatureError, "5 bytes", "32"):
        write_bundle(tmp_path / "a.tegu", replace(bundle(), meta={}), b"wrong")
    assert same_bundle(read_bundle(tmp_path / "a.tegu"), old)


@pytest.mark.parametrize("where", ["missing/a.tegu", "file/a.tegu", "folder", "a\0b.tegu"])
def test_a_path_that_cannot_be_written_leaves_nothing_behind(tmp_path: Path, where: str) -> None:
    (tmp_path / "file").write_bytes(b"not a folder")
    (tmp_path / "folder").mkdir()
    with refused(BundleError, tmp_path / where, "choose a writable folder"):
        write_bundle(tmp_path / where, bundle())
    assert {path.name for path in tmp_path.rglob("*")} == {"file", "folder"}


def test_an_unsigned_bundle_needs_no_cryptography(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "cryptography.hazmat.primitives.asymmetric.ed25519", None)
    written = write_bundle(tmp_path / "a.tegu", bundle())
    assert same_bundle(read_bundle(tmp_path / "a.tegu"), written)
    with refused(MissingExtraError, "pip install 'tegu[signing]'"):
        write_bundle(tmp_path / "b.tegu", bundle(), bytes(32))
