"""A newer initialisation takes over whole, or not at all."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from tests.client.graphs import linear_adapt, linear_bundle, linear_predict, linear_rows, ranking_bundle

from tegu.client import Personalizer
from tegu.core.bundle.file import Bundle
from tegu.core.data.batch import full_batch
from tegu.core.data.spec import Spec
from tegu.core.errors import BundleError, OtherModelError, RuntimeFailure, StoreError, TeguError

X, Y = linear_rows(7)
OLD, NEW = linear_bundle(0), linear_bundle(1)


def _with_graph(bundle: Bundle, name: str, graph: bytes) -> Bundle:
    return replace(bundle, graphs={**bundle.graphs, name: graph})


def test_upgrade_adapts_the_new_initialisation_to_what_is_stored(tmp_path: Path) -> None:
    expected = linear_predict(linear_adapt(NEW.meta, full_batch(X, Y), 5, 0.1), X)
    with Personalizer.open(OLD, tmp_path / "me.db") as p:
        p.observe(X, Y)
        p.adapt()
        report = p.upgrade(NEW)
        assert report is not None
        assert (report.interactions, report.steps, report.kept) == (7, 5, True)
        np.testing.assert_allclose(p.predict(X), expected, atol=1e-5)
    with Personalizer.open(NEW, tmp_path / "me.db") as p:
        np.testing.assert_allclose(p.predict(X), expected, atol=1e-5)
        p.observe(X, Y)
        p.adapt()
    with pytest.raises(OtherModelError):
        Personalizer.open(OLD, tmp_path / "me.db")


def test_with_nothing_stored_the_new_initialisation_serves(tmp_path: Path) -> None:
    with Personalizer.open(OLD, tmp_path / "me.db") as p:
        assert p.upgrade(NEW) is None
        np.testing.assert_allclose(p.predict(X), linear_predict(NEW.meta, X), atol=1e-6)
    Personalizer.open(NEW, tmp_path / "me.db").close()


def test_another_model_is_told_of_upgrade(tmp_path: Path) -> None:
    Personalizer.open(OLD, tmp_path / "me.db").close()
    with pytest.raises(OtherModelError, match=r"Personalizer\.upgrade, or use another store path"):
        Personalizer.open(NEW, tmp_path / "me.db")


def test_another_spec_is_told_of_another_path_alone(tmp_path: Path) -> None:
    Personalizer.open(OLD, tmp_path / "me.db").close()
    with pytest.raises(OtherModelError, match="use another store path") as raised:
        Personalizer.open(ranking_bundle(), tmp_path / "me.db")
    assert "upgrade" not in str(raised.value)


def _nan(bundle: Bundle) -> Bundle:
    return replace(bundle, meta={**bundle.meta, "bias": np.array([np.nan], np.float32)})


def _diverging() -> Bundle:
    return linear_bundle(1, steps=200, lr=50.0)


def _wider() -> Bundle:
    return replace(NEW, manifest=replace(NEW.manifest, spec=Spec.regression((4,))))


REFUSED: dict[str, tuple[object, type[TeguError], str]] = {
    "no file": ("/nowhere/none.tegu", BundleError, "cannot read"),
    "another spec": (_wider(), StoreError, "holds rows of"),
    "broken adapt graph": (_with_graph(NEW, "adapt", b"no graph"), RuntimeFailure, "cannot load the adapt graph"),
    "broken predict graph": (_with_graph(NEW, "predict", b"no graph"), RuntimeFailure, "cannot load the predict"),
    "meta without weight": (replace(NEW, meta={"bias": NEW.meta["bias"]}), RuntimeFailure, "meta.weight"),
    "meta with NaN": (_nan(NEW), BundleError, "holds nan"),
    "adapting diverges": (_diverging(), RuntimeFailure, "cannot be used"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_on_any_error_the_old_one_stays_in_memory_and_in_the_store(case: str, tmp_path: Path) -> None:
    bundle, error, message = REFUSED[case]
    with Personalizer.open(OLD, tmp_path / "me.db") as p:
        p.observe(X, Y)
        p.adapt()
        before = p.predict(X)
        with pytest.raises(error, match=message):
            p.upgrade(bundle)  # type: ignore[arg-type]
        np.testing.assert_array_equal(p.predict(X), before)
        assert p.manifest == OLD.manifest
        p.observe(X[0], Y[0])
    with Personalizer.open(OLD, tmp_path / "me.db") as p:
        np.testing.assert_array_equal(p.predict(X), before)
        assert p.count == 8


def test_a_write_that_fails_half_way_leaves_the_old_one(tmp_path: Path) -> None:
    with Personalizer.open(OLD, tmp_path / "me.db") as p:
        p.observe(X, Y)
        p.adapt()
        before = p.predict(X)
        with p._store._database.session() as connection:
            connection.execute(
                "CREATE TEMP TRIGGER fail BEFORE INSERT ON main.personal BEGIN SELECT RAISE(FAIL, 'disk is full'); END"
            )
        with pytest.raises(StoreError, match="full"):
            p.upgrade(NEW)
        np.testing.assert_array_equal(p.predict(X), before)
    with Personalizer.open(OLD, tmp_path / "me.db") as p:
        np.testing.assert_array_equal(p.predict(X), before)


def test_a_store_upgraded_by_another_process_takes_no_state_of_the_old_model(tmp_path: Path) -> None:
    with Personalizer.open(OLD, tmp_path / "me.db") as p:
        p.observe(X, Y)
        with Personalizer.open(OLD, tmp_path / "me.db") as other:
            other.upgrade(NEW)
            upgraded = other.predict(X)
        with pytest.raises(StoreError, match="upgraded by another process"):
            p.adapt()
    with Personalizer.open(NEW, tmp_path / "me.db") as p:
        np.testing.assert_array_equal(p.predict(X), upgraded)
