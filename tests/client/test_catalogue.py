"""A newer bundle with more, fewer or other items and labels, against plain numpy."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from tests.client.graphs import ITEMS, linear_bundle, linear_rows, ranking_adapt, ranking_bundle

from tegu.client import Personalizer
from tegu.core.bundle.file import Bundle
from tegu.core.bundle.manifest import Knobs
from tegu.core.data.batch import Array, NumpyBatch, full_batch
from tegu.core.data.spec import Spec
from tegu.core.data.tree import Tree
from tegu.core.encoding.column import Column
from tegu.core.encoding.encoding import Encoding
from tegu.core.encoding.words import Word
from tegu.core.errors import DataError, OtherModelError, StoreError

OLD = ranking_bundle(0)
LARGER, SMALLER = ranking_bundle(1, items=ITEMS + 2), ranking_bundle(2, items=ITEMS - 4)


def _scores(bundle: Bundle, clicks: Sequence[int]) -> Array:
    support = full_batch(np.array(clicks), np.ones(len(clicks), np.float32))
    return bundle.meta["items"] @ ranking_adapt(bundle.meta, support, 20, 1.0)


def _named(bundle: Bundle, items: Sequence[Word]) -> Bundle:
    return replace(bundle, manifest=replace(bundle.manifest, encoding=Encoding(items=tuple(items))))


def _raw_scores(p: Personalizer, bundle: Bundle) -> Array:
    """By position, whatever the items are called."""
    return p._current.model.predict(p._current.state, np.arange(bundle.manifest.spec.items))


@pytest.mark.parametrize("on_open", [False, True])
def test_a_catalogue_that_grew_gives_new_items_the_vectors_of_the_new_bundle(tmp_path: Path, on_open: bool) -> None:
    with Personalizer.open(OLD, tmp_path / "me.db") as p:
        p.observe([3, 7, 7])
        p.adapt()
        if not on_open:
            report = p.upgrade(LARGER)
            assert report is not None
            assert (report.interactions, report.unused) == (3, 0)
    with Personalizer.open(LARGER, tmp_path / "me.db", upgrade=on_open) as p:
        np.testing.assert_allclose(p.predict(np.arange(ITEMS + 2)), _scores(LARGER, [3, 7, 7]), atol=1e-4)
        assert {ITEMS, ITEMS + 1} <= set(p.recommend(ITEMS + 2)[0].tolist())
        p.observe(ITEMS + 1)
        assert p.adapt().interactions == 4
        np.testing.assert_allclose(p.predict(np.arange(ITEMS + 2)), _scores(LARGER, [3, 7, 7, ITEMS + 1]), atol=1e-4)


def test_interactions_with_withdrawn_items_are_kept_and_not_used_and_it_is_said(tmp_path: Path) -> None:
    with Personalizer.open(OLD, tmp_path / "me.db") as p:
        p.observe([3, ITEMS - 1, 5, ITEMS - 2])
        p.adapt()
        report = p.upgrade(SMALLER)
        assert report is not None
        assert (report.interactions, report.unused) == (2, 2)
        assert (
            "2 interactions have items or labels that this bundle lacks: they are stored, but not used."
            in report.reason
        )
        np.testing.assert_allclose(p.predict(np.arange(ITEMS - 4)), _scores(SMALLER, [3, 5]), atol=1e-4)
        assert p.count == 4
        assert set(p.recommend(ITEMS)[0].tolist()) == set(range(ITEMS - 4)) - {3, 5}
        with pytest.raises(DataError, match=f"holds the id {ITEMS - 1}"):
            p.observe(ITEMS - 1)
    with Personalizer.open(SMALLER, tmp_path / "me.db") as p:
        p.observe(1)
        report = p.adapt()
        assert (report.interactions, report.unused) == (3, 2)
        p.upgrade(OLD)  # where they are again, they are used again
        np.testing.assert_allclose(
            p.predict(np.arange(ITEMS)), _scores(OLD, [3, ITEMS - 1, 5, ITEMS - 2, 1]), atol=1e-4
        )


def test_with_withdrawn_items_alone_the_initialisation_serves(tmp_path: Path) -> None:
    with Personalizer.open(OLD, tmp_path / "me.db") as p:
        p.observe(ITEMS - 1)
        p.adapt()
        assert p.upgrade(SMALLER) is None
        expected = SMALLER.meta["items"] @ SMALLER.meta["user"]
        np.testing.assert_allclose(p.predict(np.arange(ITEMS - 4)), expected, atol=1e-5)
        with pytest.raises(DataError, match="lacks the items or labels of all 1 interactions"):
            p.adapt()


@pytest.mark.parametrize("on_open", [False, True])
def test_items_are_found_by_their_ids_wherever_they_are_in_the_new_bundle(tmp_path: Path, on_open: bool) -> None:
    names = [f"tt{i:03}" for i in range(ITEMS)]
    others = ["new-1", *reversed(names[2:]), "new-2", "new-3"]  # 0 and 1 are withdrawn
    old, new = _named(OLD, names), _named(ranking_bundle(1, items=len(others)), others)
    clicked = ["tt000", "tt007", "tt011"]
    with Personalizer.open(old, tmp_path / "me.db") as p:
        p.observe(clicked)
        p.adapt()
        assert p.interactions().x.tolist() == clicked
        if not on_open:
            report = p.upgrade(new)
            assert report is not None
            assert (report.interactions, report.unused) == (2, 1)
    with Personalizer.open(new, tmp_path / "me.db", upgrade=on_open) as p:
        positions = [others.index("tt007"), others.index("tt011")]
        np.testing.assert_allclose(_raw_scores(p, new), _scores(new, positions), atol=1e-4)
        assert p.interactions().x.tolist() == clicked
        p.observe(["new-2"])
        assert not {"new-2", "tt007", "tt011"} & set(p.recommend(100)[0].tolist())
        p.adapt()
        p.upgrade(old)
        np.testing.assert_allclose(_raw_scores(p, old), _scores(old, [0, 7, 11]), atol=1e-4)
        assert p.interactions().x.tolist() == [*clicked, "new-2"]


def test_positions_are_the_ids_of_a_bundle_without_ids(tmp_path: Path) -> None:
    """A catalogue of the ids 0, 1, 2, ... holds no words; when ids are taken out of it or others come, it does."""
    sparse = [*range(0, 10, 2), 100, 2**40]
    old, new = OLD, _named(ranking_bundle(1, items=len(sparse)), sparse)
    with Personalizer.open(old, tmp_path / "me.db") as p:
        p.observe([4, 5, 8])  # 5 is withdrawn
        report = p.upgrade(new)
        assert report is not None
        assert (report.interactions, report.unused) == (2, 1)
        np.testing.assert_allclose(_raw_scores(p, new), _scores(new, [2, 4]), atol=1e-4)
        p.observe([2**40, 2])
        p.upgrade(old)
        np.testing.assert_allclose(_raw_scores(p, old), _scores(old, [4, 5, 8, 2]), atol=1e-4)
        assert p.interactions().x.tolist() == [4, 5, 8, 2**40, 2]


class _Labels:
    """A runtime whose outputs tell how often each class was in the support."""

    def __init__(self, classes: int) -> None:
        self.classes = classes

    def adapt(self, meta: Tree, support: NumpyBatch, knobs: Knobs, noise: Array) -> Tree:
        return {"counts": np.bincount(support.y, support.mask, self.classes).astype(np.float32)}

    def predict(self, meta: Tree, state: Tree, x: Array) -> Array:
        return np.repeat(state["counts"][None], len(x), 0)


def _classifier(labels: Sequence[Word], classes: int = 0, seed: int = 0) -> Bundle:
    bundle = linear_bundle(seed)
    spec = Spec.classification((3,), classes or len(labels))
    encoding = Encoding(labels=tuple(labels)) if labels else None
    return replace(bundle, manifest=replace(bundle.manifest, spec=spec, encoding=encoding))


@pytest.mark.parametrize("names", [((), ()), (("a", "b", "c"), ("c", "new", "b", "a"))])
def test_labels_may_grow_and_change_places(tmp_path: Path, names: tuple[Sequence[Word], Sequence[Word]]) -> None:
    old, new = _classifier(names[0], 3), _classifier(names[1], 4, seed=1)
    x = linear_rows(4)[0]
    with Personalizer.open(old, tmp_path / "me.db", runtime=_Labels(3)) as p:
        p.observe(x, ["a", "a", "b", "c"] if names[0] else [0, 0, 1, 2])
        p.adapt()
        assert p.predict(x)[0].tolist() == [2, 1, 1]
    with Personalizer.open(new, tmp_path / "me.db", runtime=_Labels(4), upgrade=True) as p:
        assert p.predict(x)[0].tolist() == ([1, 0, 1, 2] if names[0] else [2, 1, 1, 0])
        assert p.interactions().y.tolist() == (["a", "a", "b", "c"] if names[0] else [0, 0, 1, 2])
    with Personalizer.open(_classifier(names[0][:2], 2), tmp_path / "me.db", runtime=_Labels(2), upgrade=True) as p:
        assert p.predict(x)[0].tolist() == [2, 1]
        assert p.adapt().unused == 1


def test_a_store_of_another_bundle_is_taken_over_only_if_asked(tmp_path: Path) -> None:
    Personalizer.open(OLD, tmp_path / "me.db").close()
    with pytest.raises(OtherModelError, match="open it with upgrade=True, or with its own bundle"):
        Personalizer.open(LARGER, tmp_path / "me.db")
    with Personalizer.open(OLD, tmp_path / "me.db", upgrade=True) as p:  # its own: nothing to do
        assert p.count == 0


def test_taking_over_fails_whole(tmp_path: Path) -> None:
    broken = replace(LARGER, graphs={**LARGER.graphs, "predict": b"no graph"})
    with Personalizer.open(OLD, tmp_path / "me.db") as p:
        p.observe([3])
        p.adapt()
        before = p.predict(np.arange(ITEMS))
    with pytest.raises(Exception, match="cannot load the predict graph"):
        Personalizer.open(broken, tmp_path / "me.db", upgrade=True)
    with Personalizer.open(OLD, tmp_path / "me.db") as p:
        np.testing.assert_array_equal(p.predict(np.arange(ITEMS)), before)


@pytest.mark.parametrize(
    "spec", [Spec.regression((), items=ITEMS), Spec.classification((), 3, tokens=ITEMS), Spec.regression((3,))]
)
def test_specs_that_differ_otherwise_stay_refused(tmp_path: Path, spec: Spec) -> None:
    other = replace(OLD, manifest=replace(OLD.manifest, spec=spec))
    with Personalizer.open(OLD, tmp_path / "me.db") as p, pytest.raises(StoreError, match="holds rows of"):
        p.upgrade(other)
    with pytest.raises(OtherModelError, match="holds rows of"):
        Personalizer.open(other, tmp_path / "me.db", upgrade=True)


def test_rows_of_one_encoding_are_not_read_by_another(tmp_path: Path) -> None:
    old, new = (
        replace(b, manifest=replace(b.manifest, encoding=Encoding(columns=tuple(columns))))
        for b, columns in (
            (linear_bundle(0), [Column("age", "number", unit=10.0), Column("a", "number"), Column("b", "number")]),
            (linear_bundle(1), [Column("age", "number", unit=12.0), Column("a", "number"), Column("b", "number")]),
        )
    )
    with (
        Personalizer.open(old, tmp_path / "me.db") as p,
        pytest.raises(StoreError, match="other levels, units or orig"),
    ):
        p.upgrade(new)
    with pytest.raises(OtherModelError, match="other levels, units or origins"):
        Personalizer.open(new, tmp_path / "me.db", upgrade=True)
    Personalizer.open(old, tmp_path / "me.db").close()
