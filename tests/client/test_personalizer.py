"""Predict, observe, adapt, reset, and opening again, against plain numpy."""

from __future__ import annotations

import threading
from pathlib import Path

import numpy as np
import pytest
from tests.client.graphs import (
    linear_adapt,
    linear_bundle,
    linear_predict,
    linear_rows,
    ranking_adapt,
    ranking_bundle,
)

from tegu.client import Personalizer
from tegu.core.data.batch import full_batch
from tegu.core.errors import DataError, StoreError

X, Y = linear_rows(7)


def _adapted(rows: int, seed: int = 0) -> np.ndarray:
    return linear_predict(linear_adapt(linear_bundle(seed).meta, full_batch(X[:rows], Y[:rows]), 5, 0.1), X)


def test_predicts_with_the_initialisation_before_anything_is_known() -> None:
    bundle = linear_bundle()
    with Personalizer.open(bundle) as p:
        np.testing.assert_allclose(p.predict(X), linear_predict(bundle.meta, X), atol=1e-6)


def test_observing_alone_changes_no_prediction() -> None:
    with Personalizer.open(linear_bundle()) as p:
        before = p.predict(X)
        p.observe(X, Y)
        np.testing.assert_array_equal(p.predict(X), before)


def test_adapt_is_gradient_descent_on_what_was_observed() -> None:
    with Personalizer.open(linear_bundle()) as p:
        p.observe(X, Y)
        p.adapt()
        np.testing.assert_allclose(p.predict(X), _adapted(7), atol=1e-5)


def test_adapting_starts_from_the_initialisation_each_time() -> None:
    with Personalizer.open(linear_bundle()) as p:
        p.observe(X[:3], Y[:3])
        p.adapt()
        p.observe(X[3:], Y[3:])
        p.adapt()
        np.testing.assert_allclose(p.predict(X), _adapted(7), atol=1e-5)


def test_ranking_adapts_to_items_and_weights() -> None:
    bundle = ranking_bundle()
    x, y = np.array([2, 5, 5]), np.array([1, 0.5, 3], np.float32)
    with Personalizer.open(bundle) as p:
        p.observe(x, y)
        p.adapt()
        user = ranking_adapt(bundle.meta, full_batch(x, y), 20, 1.0)
        np.testing.assert_allclose(p.predict(np.arange(12)), bundle.meta["items"] @ user, atol=1e-4)


def test_ranking_without_y_is_a_weight_of_one() -> None:
    bundle = ranking_bundle()
    with Personalizer.open(bundle) as p, Personalizer.open(bundle) as q:
        p.observe([2, 5])
        q.observe([2, 5], [1, 1])
        p.adapt()
        q.adapt()
        np.testing.assert_array_equal(p.predict(np.arange(12)), q.predict(np.arange(12)))


def test_one_row_needs_no_axis_of_rows() -> None:
    with Personalizer.open(linear_bundle()) as p, Personalizer.open(linear_bundle()) as q:
        for x, y in zip(X, Y, strict=True):
            p.observe(x, y)
        p.observe(X[0], float(Y[0, 0]))
        q.observe(np.concatenate([X, X[:1]]), np.concatenate([Y, Y[:1]]))
        assert p.count == q.count == 8
        p.adapt()
        q.adapt()
        np.testing.assert_array_equal(p.predict(X), q.predict(X))
        assert p.predict(X[0]).shape == (1, 1)


def test_no_rows_are_no_interactions() -> None:
    with Personalizer.open(linear_bundle()) as p:
        p.observe(X[:0], Y[:0])
        assert p.count == 0
        assert p.predict(X[:0]).shape == (0, 1)


def test_inputs_are_not_changed() -> None:
    bundle, x, y = linear_bundle(), X.copy(), Y.copy()
    meta = {name: value.copy() for name, value in bundle.meta.items()}
    with Personalizer.open(bundle) as p:
        p.observe(x, y)
        p.adapt()
        p.predict(x)
    np.testing.assert_array_equal(x, X)
    np.testing.assert_array_equal(y, Y)
    for name, value in meta.items():
        np.testing.assert_array_equal(bundle.meta[name], value)


def test_reset_goes_back_and_keeps_the_interactions() -> None:
    with Personalizer.open(linear_bundle()) as p:
        before = p.predict(X)
        p.observe(X, Y)
        p.adapt()
        adapted = p.predict(X)
        p.reset()
        np.testing.assert_array_equal(p.predict(X), before)
        assert p.count == 7
        p.adapt()
        np.testing.assert_array_equal(p.predict(X), adapted)


def test_the_personal_state_survives_opening_again(linear_file: Path, tmp_path: Path) -> None:
    with Personalizer.open(linear_file, tmp_path / "me.db") as p:
        p.observe(X, Y)
        p.adapt()
        adapted = p.predict(X)
    with Personalizer.open(linear_file, tmp_path / "me.db") as p:
        assert p.count == 7
        np.testing.assert_array_equal(p.predict(X), adapted)
        p.reset()
    with Personalizer.open(linear_file, tmp_path / "me.db") as p:
        np.testing.assert_allclose(p.predict(X), linear_predict(linear_bundle().meta, X), atol=1e-6)


def test_a_bundle_in_memory_and_its_file_are_the_same_model(linear_file: Path, tmp_path: Path) -> None:
    with Personalizer.open(linear_bundle(), tmp_path / "me.db") as p:
        p.observe(X, Y)
    with Personalizer.open(linear_file, tmp_path / "me.db") as p:
        assert p.count == 7


@pytest.mark.parametrize(
    ("x", "y", "message"),
    [
        (np.zeros((2, 4)), np.zeros(2), "x has shape"),
        (np.full((1, 3), np.nan), np.zeros(1), "NaN"),
        (np.zeros((2, 3)), np.zeros(3), "expected equal numbers"),
        (np.zeros((1, 3)), None, "y is None"),
        (np.array([["a", "b", "c"]]), np.zeros(1), "dtype"),
    ],
)
def test_rows_that_do_not_fit_are_refused_and_none_is_stored(x: object, y: object, message: str) -> None:
    with Personalizer.open(linear_bundle()) as p:
        with pytest.raises(DataError, match=message):
            p.observe(x, y)  # type: ignore[arg-type]
        assert p.count == 0


def test_predict_refuses_what_does_not_fit() -> None:
    with Personalizer.open(linear_bundle()) as p, pytest.raises(DataError, match="x has shape"):
        p.predict(np.zeros((2, 5)))


def test_a_store_is_closed_by_close_and_by_the_context(tmp_path: Path) -> None:
    p = Personalizer.open(linear_bundle(), tmp_path / "me.db")
    p.close()
    p.close()
    with pytest.raises(StoreError, match="open it again"):
        p.observe(X, Y)
    with Personalizer.open(linear_bundle(), tmp_path / "me.db") as q:
        pass
    with pytest.raises(StoreError, match="open it again"):
        assert q.count


def test_other_threads_may_adapt_and_observe() -> None:
    errors: list[BaseException] = []

    def work(p: Personalizer) -> None:
        try:
            for x, y in zip(X, Y, strict=True):
                p.observe(x, y)
                p.adapt()
                p.predict(X)
        except BaseException as error:  # noqa: BLE001, RUF100
            errors.append(error)

    with Personalizer.open(linear_bundle()) as p:
        threads = [threading.Thread(target=work, args=(p,)) for _ in range(3)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert not errors
        assert p.count == 21
