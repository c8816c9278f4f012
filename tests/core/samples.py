"""Random trees and manifests, one small bundle, and the checks that several tests share."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from tegu.core.bundle.file import GRAPHS, Bundle
from tegu.core.bundle.manifest import Manifest, ScheduleEntry
from tegu.core.bundle.shown import FrontierPoint, HarmShown
from tegu.core.data.batch import Array
from tegu.core.data.spec import Spec
from tegu.core.data.tree import Tree
from tegu.core.encoding.column import Column
from tegu.core.encoding.encoding import Encoding
from tegu.core.encoding.words import known_words
from tegu.core.errors import TeguError
from tegu.core.notes import visible

DTYPES = ("float32", "float64", "int64")

names = st.text(max_size=8).filter(lambda name: name != "__metadata__")
shapes = hnp.array_shapes(min_dims=0, max_dims=3, min_side=0, max_side=4)
json_scalars = (
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=5)
)
json_values = st.recursive(
    json_scalars,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=6,
)
json_objects = st.dictionaries(st.text(max_size=5), json_values, max_size=3)
knobs = st.dictionaries(st.text(max_size=5), st.floats(allow_nan=False, allow_infinity=False), max_size=3)


@st.composite
def views(draw: st.DrawFn) -> Array:
    """Any bits (NaN, -0.0, infinities), as an array that owns its memory or as a view that does not lie in C order."""
    array = draw(hnp.arrays(draw(st.sampled_from(DTYPES)), draw(shapes)))
    view = draw(st.sampled_from(["as it is", "transposed", "strided", "reversed", "broadcast"]))
    if view == "transposed":
        return array.T
    if view == "broadcast":
        return np.broadcast_to(array, (2, *array.shape))
    if array.ndim and view != "as it is":
        return array[::2] if view == "strided" else array[::-1]
    return array


trees = st.dictionaries(names, views(), max_size=4)


@st.composite
def alike(draw: st.DrawFn, count: int) -> list[dict[str, Array]]:
    """So many trees of one layout, holding small whole numbers: their sums and differences are exact."""
    layout = draw(st.dictionaries(names, st.tuples(st.sampled_from(DTYPES), shapes), max_size=3))
    small = st.integers(-1000, 1000)
    return [{name: draw(hnp.arrays(dtype, shape, elements=small)) for name, (dtype, shape) in layout.items()}
            for _ in range(count)]  # fmt: skip


@st.composite
def specs(draw: st.DrawFn) -> Spec:
    size, shape = draw(st.integers(1, 50)), tuple(draw(st.lists(st.integers(1, 4), max_size=3)))
    return draw(
        st.sampled_from(
            [
                Spec.classification(shape, size),
                Spec.classification(shape, size, tokens=9),
                Spec.regression(shape, size),
                Spec.regression((), items=size),
                Spec.ranking(size),
            ]
        )
    )


words = st.integers() | st.text(max_size=5) | st.sampled_from([0.5, True, False])
encodings = st.builds(
    Encoding,
    columns=st.sampled_from(
        [
            (),
            (Column("age", "number", gap=31.5, whole=True), Column("ü=", "category", ("a", 3, 0.5), gap=0.0)),
            (Column("when", "date", origin=-(10**15), unit=60_000_000), Column("shop", "id", (False, True))),
        ]
    ),
    labels=st.lists(words, max_size=3).map(known_words),
    items=st.just((1, 2**64 - 1, "x")),
    titles=st.sampled_from([(), ("One", "One", "")]),
    item=st.text(max_size=3),
    label=st.text(max_size=3),
    targets=st.sampled_from([(), (Column("price", "number", origin=0.5, unit=10.0),)]),
)

shares, counts = st.floats(0, 1), st.integers(0, 2**40)


@st.composite
def manifests(draw: st.DrawFn) -> Manifest:
    sizes = sorted(draw(st.sets(st.integers(1, 99), max_size=3)))
    own = draw(knobs)
    losses = st.lists(st.floats(allow_nan=False, allow_infinity=False), max_size=3).map(tuple)
    harm = st.none() | st.builds(
        HarmShown, shares, shares, counts, shares, shares, shares, st.none() | counts.filter(bool), shares
    )
    frontier = st.lists(st.builds(FrontierPoint, st.none() | shares, shares, shares, shares), max_size=2).map(tuple)
    return Manifest(
        learner=draw(st.text(max_size=8)),
        paper=draw(st.text(max_size=8)),
        spec=draw(specs()),
        adapted_parameters=tuple(draw(st.lists(st.text(max_size=5), max_size=3))),
        knobs=own,
        unadapted={name: value / 2 for name, value in own.items()},
        schedule=tuple(
            ScheduleEntry(k, draw(knobs), losses=draw(losses), harm=draw(harm), frontier=draw(frontier)) for k in sizes
        ),
        training=draw(json_objects),
        heldout=tuple(draw(st.lists(json_objects, max_size=2))),
        members=draw(st.dictionaries(st.text(max_size=5), st.text(max_size=5), max_size=3)),
        candidates=tuple(draw(st.lists(knobs, max_size=2))),
        guarded=draw(st.booleans()),
        window=draw(st.integers(0, 9)),
        noise=draw(st.integers(0, 9)),
        fixed_parameters=tuple(draw(st.lists(st.text(max_size=5), max_size=2))),
        untrained_parameters=tuple(draw(st.lists(st.text(max_size=5), max_size=2))),
        state_members=draw(st.integers(0, 3)),
        encoding=draw(st.none() | encodings),
    )


def manifest() -> Manifest:
    own = {"steps": 5.0, "lr": 0.1}
    return Manifest("reptile", "Nichol et al. 2018", Spec.ranking(4), ("w",), own, {**own, "steps": 0.0})


def bundle() -> Bundle:
    meta: Tree = {"w": np.arange(6, dtype=np.float32).reshape(2, 3), "scalar": np.array(2, np.int64)}
    return Bundle(manifest(), meta, {name: f"the {name} graph".encode() for name in GRAPHS})


def same_array(a: Array, b: Array) -> bool:
    """Bit for bit, and an array: numpy makes scalars of 0-d arrays where one lets it."""
    return type(a) is np.ndarray and (a.dtype, a.shape, a.tobytes()) == (b.dtype, b.shape, b.tobytes())


def same_tree(a: Tree, b: Tree) -> bool:
    """Bit for bit, in any order."""
    return a.keys() == b.keys() and all(same_array(a[name], b[name]) for name in a)


def same_bundle(a: Bundle, b: Bundle) -> bool:
    return a.manifest == b.manifest and same_tree(a.meta, b.meta) and a.graphs == b.graphs


def members_of(data: bytes) -> dict[str, bytes]:
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def zipped(
    members: Mapping[str, bytes] | Sequence[tuple[str, bytes]], compressed: Mapping[str, int] | None = None
) -> bytes:
    """A zip with correct checksums, so that only the reader's own checks can refuse it."""
    pairs = list(members.items()) if isinstance(members, Mapping) else members
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name, data in pairs:
            archive.writestr(zipfile.ZipInfo(name), data, (compressed or {}).get(name, zipfile.ZIP_STORED))
    return buffer.getvalue()


def put(path: Path, data: bytes) -> Path:
    path.write_bytes(data)
    return path


@contextmanager
def refused(kind: type[TeguError], *parts: Any) -> Iterator[None]:
    """Expects this very error, with each of `parts` (the found value, the fix) in its message."""
    with pytest.raises(kind) as caught:
        yield
    assert caught.type is kind
    for part in parts:
        assert visible(str(part)) in str(caught.value)
