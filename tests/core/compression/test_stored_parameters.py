"""Bundles whose parameters are stored in fewer bytes: what the file holds, what a reader sees, what is refused."""

from __future__ import annotations

import hashlib
import json
import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from safetensors.numpy import load
from tests.core.samples import (
    bundle,
    members_of,
    names,
    put,
    refused,
    same_array,
    same_bundle,
    same_tree,
    shapes,
    trees,
    zipped,
)

from tegu.core.bundle import signing
from tegu.core.bundle.file import read_bundle, tree_to_bytes, write_bundle
from tegu.core.compression.precision import Precision
from tegu.core.compression.stored_parameters import pack_parameters, unpack_parameters
from tegu.core.data.batch import Array
from tegu.core.data.tree import Tree
from tegu.core.errors import BundleError, DataError, UnknownNameError

PACKED: tuple[Precision, ...] = ("float16", "int8")
finite = st.floats(-60000, 60000, width=32)


@st.composite
def metas(draw: st.DrawFn) -> Tree:
    """Parameters in any shape and memory layout, and entries that are no float32."""
    plain = names.filter(lambda name: not name.endswith("/scales"))
    floats = draw(st.dictionaries(plain, hnp.arrays(np.float32, shapes, elements=finite), max_size=3))
    others = draw(st.dictionaries(plain, hnp.arrays(draw(st.sampled_from(["int64", "float64"])), shapes), max_size=2))
    return {name: array.T for name, array in {**floats, **others}.items()}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("stored")


def stored(path: Path) -> dict[str, Array]:
    return load(members_of(path.read_bytes())["meta.safetensors"])


def with_stored(path: Path, tree: Tree) -> Path:
    """A bundle whose digests are right and whose arrays are `tree`, as they are."""
    members = members_of(path.read_bytes())
    members["meta.safetensors"] = tree_to_bytes(tree)
    manifest = json.loads(members["manifest.json"])
    manifest["members"]["meta.safetensors"] = hashlib.sha256(members["meta.safetensors"]).hexdigest()
    return put(path.with_name("altered.tegu"), zipped({**members, "manifest.json": json.dumps(manifest).encode()}))


@given(metas(), st.sampled_from(PACKED), st.booleans())
@settings(deadline=None, max_examples=60)
def test_a_reader_sees_what_write_bundle_returns(folder: Path, meta: Tree, precision: Precision, signed: bool) -> None:
    private, public = signing.new_key_pair() if signed else (None, None)
    written = write_bundle(folder / "a.tegu", replace(bundle(), meta=meta), private, precision)
    found = read_bundle(folder / "a.tegu", public)
    assert same_bundle(found, written)
    assert found.identity == written.identity
    assert found.meta.keys() == meta.keys()
    for name, array in meta.items():
        restored = found.meta[name]
        assert (restored.dtype, restored.shape) == (array.dtype, array.shape)
        if array.dtype != np.float32:
            assert same_array(restored, array.copy())
        elif precision == "float16":
            assert same_array(restored, array.astype(np.float16).astype(np.float32))
        else:
            limit = np.abs(array).max(initial=0) / 254 * 1.0001 + 1e-43
            assert np.abs(restored - array).max(initial=0) <= limit


@given(trees)
@settings(deadline=None, max_examples=30)
def test_float32_is_stored_as_it_is(folder: Path, meta: Tree) -> None:
    write_bundle(folder / "a.tegu", replace(bundle(), meta=meta), precision="float32")
    assert same_tree(stored(folder / "a.tegu"), {name: array.copy() for name, array in meta.items()})


def test_what_the_file_holds(tmp_path: Path) -> None:
    meta = {
        "w": np.linspace(-1, 1, 600, dtype=np.float32).reshape(2, 300),
        "temperature": np.array(0.5, np.float32),
        "none": np.zeros((0, 3), np.float32),
        "count": np.array(7),
    }
    expected = {
        "float16": {"w": "float16[2, 300]", "temperature": "float16[]", "none": "float16[0, 3]", "count": "int64[]"},
        "int8": {"w": "int8[2, 300]", "w/scales": "float32[2]", "temperature": "int8[]",
                 "temperature/scales": "float32[1]", "none": "int8[0, 3]", "none/scales": "float32[0]",
                 "count": "int64[]"},
    }  # fmt: skip
    for precision in PACKED:
        write_bundle(tmp_path / "a.tegu", replace(bundle(), meta=meta), precision=precision)
        found = {name: f"{array.dtype}{list(array.shape)}" for name, array in stored(tmp_path / "a.tegu").items()}
        assert found == expected[precision]
    codes = stored(tmp_path / "a.tegu")
    assert codes["temperature"] == 127
    assert codes["temperature/scales"] == pytest.approx(0.5 / 127)
    assert same_array(read_bundle(tmp_path / "a.tegu").meta["count"], np.array(7))


def test_the_file_gets_smaller(tmp_path: Path) -> None:
    meta = {"w": np.random.default_rng(0).normal(size=(100, 512)).astype(np.float32)}
    for precision, size in (("float32", 4 * 51200), ("float16", 2 * 51200), ("int8", 51200 + 4 * 100)):
        write_bundle(tmp_path / "a.tegu", replace(bundle(), meta=meta), precision=precision)
        assert sum(array.nbytes for array in stored(tmp_path / "a.tegu").values()) == size


@pytest.mark.parametrize("precision", PACKED)
def test_restored_arrays_can_be_written_to_and_the_given_ones_are_left_alone(
    tmp_path: Path, precision: Precision
) -> None:
    weights = np.array([0.1, 0.7], np.float32)
    write_bundle(tmp_path / "a.tegu", replace(bundle(), meta={"w": weights}), precision=precision)
    assert weights.tolist() == np.array([0.1, 0.7], np.float32).tolist()
    assert read_bundle(tmp_path / "a.tegu").meta["w"].flags.writeable


# What cannot be stored


def test_an_unknown_precision_leaves_nothing_behind(tmp_path: Path) -> None:
    with refused(UnknownNameError, "'float8'", "Did you mean 'float"):
        write_bundle(tmp_path / "a.tegu", bundle(), precision="float8")  # type: ignore[arg-type]
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
@pytest.mark.parametrize("precision", PACKED)
def test_what_is_not_finite_is_refused(tmp_path: Path, precision: Precision, bad: float) -> None:
    meta = {"fine": np.ones(2, np.float32), "w": np.array([[1.0, bad]], np.float32)}
    with refused(DataError, "'w'", bad, precision, "train again"):
        write_bundle(tmp_path / "a.tegu", replace(bundle(), meta=meta), precision=precision)
    assert not list(tmp_path.iterdir())


def test_beyond_float16_is_refused_and_fits_int8(tmp_path: Path) -> None:
    large = replace(bundle(), meta={"w": np.array([1.0, -70000.0], np.float32)})
    with refused(DataError, "'w'", "70000", "65504", "int8 or float32"):
        write_bundle(tmp_path / "a.tegu", large, precision="float16")
    write_bundle(tmp_path / "a.tegu", large, precision="int8")
    assert read_bundle(tmp_path / "a.tegu").meta["w"][1] == pytest.approx(-70000)


@pytest.mark.parametrize("dtype", ["float16", "int8"])
@pytest.mark.parametrize("precision", ["float32", *PACKED])
def test_a_dtype_that_would_be_restored_to_another_is_refused(tmp_path: Path, precision: Precision, dtype: str) -> None:
    with refused(BundleError, "'w'", dtype, "make it float32"):
        write_bundle(tmp_path / "a.tegu", replace(bundle(), meta={"w": np.ones(2, dtype)}), precision=precision)


def test_a_parameter_named_as_scales_are() -> None:
    meta = {"w": np.ones(2, np.float32), "w/scales": np.full(1, 3, np.float32)}
    with refused(BundleError, "'w/scales' is reserved for the scales of 'w'", "rename it"):
        pack_parameters(meta, "int8")
    for precision in ("float32", "float16"):
        assert same_tree(unpack_parameters(pack_parameters(meta, precision)), meta)
    alone = {"w/scales": np.full(1, 3, np.float32)}
    assert unpack_parameters(pack_parameters(alone, "int8"))["w/scales"] == pytest.approx(3)


# What cannot be read


@pytest.mark.parametrize(
    ("scales", "parts"),
    [
        (None, ("'w/scales' is absent",)),
        (np.ones(1, np.float32), ("float32[1]", "expected float32[2]")),
        (np.ones(3, np.float32), ("float32[3]", "expected float32[2]")),
        (np.ones((2, 1), np.float32), ("float32[2, 1]", "expected float32[2]")),
        (np.array(1, np.float32), ("float32[]", "expected float32[2]")),
        (np.ones(2, np.float64), ("float64[2]", "expected float32[2]")),
        (np.ones(2, np.int8), ("int8[2]", "expected float32[2]")),
        (np.array([1, math.nan], np.float32), ("holds nan", "finite scales")),
        (np.array([math.inf, 1], np.float32), ("holds inf", "finite scales")),
        (np.array([1, -0.5], np.float32), ("holds -0.5", "at least 0")),
    ],
)
def test_damaged_scales_are_refused(tmp_path: Path, scales: Array | None, parts: tuple[str, ...]) -> None:
    write_bundle(tmp_path / "a.tegu", replace(bundle(), meta={"w": np.ones(600, np.float32)}), precision="int8")
    tree = stored(tmp_path / "a.tegu")
    tree.pop("w/scales")
    path = with_stored(tmp_path / "a.tegu", tree if scales is None else {**tree, "w/scales": scales})
    with refused(BundleError, "'w", *parts, "fetch the bundle again"):
        read_bundle(path)


def test_the_helper_alters_nothing_else(tmp_path: Path) -> None:
    written = write_bundle(tmp_path / "a.tegu", bundle(), precision="int8")
    assert same_bundle(read_bundle(with_stored(tmp_path / "a.tegu", stored(tmp_path / "a.tegu"))), written)
