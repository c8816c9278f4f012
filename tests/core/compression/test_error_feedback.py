"""Trees packed into few bytes, and the feedback of what was lost."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.core.samples import refused

from tegu.core.compression.error_feedback import Packed, pack, pack_with_feedback, unpack
from tegu.core.compression.precision import Precision
from tegu.core.data.tree import Tree, add, max_difference
from tegu.core.errors import DataError

PRECISIONS: tuple[Precision, ...] = ("float32", "float16", "int8")


def tree(seed: int, scale: float = 1.0) -> Tree:
    rng = np.random.default_rng(seed)
    shapes: dict[str, tuple[int, ...]] = {"b": (7, 90), "a": (), "c": (3,), "empty": (0, 4)}
    return {name: np.asarray(scale * rng.normal(size=shape), np.float32) for name, shape in shapes.items()}


@pytest.mark.parametrize("precision", PRECISIONS)
@given(st.integers(0, 1000), st.sampled_from([1e-6, 1.0, 1e3]))
@settings(deadline=None)
def test_a_tree_comes_back_within_its_rounding(precision: Precision, seed: int, scale: float) -> None:
    before = tree(seed, scale)
    packed = pack(before, precision)
    assert packed.codes.dtype == precision
    after = unpack(packed, tree(0))
    assert {name: value.shape for name, value in after.items()} == {n: v.shape for n, v in before.items()}
    largest = max(float(np.abs(value).max(initial=0)) for value in before.values())
    allowed = {"float32": 0.0, "float16": largest / 1024 + 1e-7, "int8": 0.51 * largest / 127}[precision]
    assert max_difference(after, before) <= allowed


def test_entries_lie_in_the_order_of_their_names() -> None:
    before = tree(1)
    codes = pack(before, "float32").codes
    assert codes.tolist() == [float(before["a"]), *before["b"].ravel().tolist(), *before["c"].tolist()]


@pytest.mark.parametrize("precision", ["float16", "int8"])
def test_errors_do_not_pile_up(precision: Precision) -> None:
    """A thousand small updates: their sum arrives, though each is rounded."""
    residual, sent, wanted, worst = None, None, None, 0.0
    for seed in range(200):
        update = tree(seed, 0.01 if seed % 2 else 1.0)
        packed, residual = pack_with_feedback(update, residual, precision)
        found = unpack(packed, update)
        worst = max(worst, *(float(np.abs(value).max(initial=0)) for value in found.values()))
        sent, wanted = (found, update) if sent is None or wanted is None else (add(sent, found), add(wanted, update))
    assert sent is not None
    assert wanted is not None
    assert max_difference(sent, wanted) <= 0.51 * worst / 127 + 1e-4
    assert residual is not None
    assert 0 < max_difference(add(sent, residual), wanted) < 1e-3


def test_what_is_not_finite_stays_visible() -> None:
    bad = tree(0) | {"c": np.asarray([1, np.inf, 2], np.float32)}
    assert not all(np.isfinite(value).all() for value in unpack(pack(bad, "int8"), bad).values())


def test_what_does_not_fit_is_refused() -> None:
    packed = pack(tree(0), "int8")
    with refused(DataError, "(634,)", "expected 631 entries", "the same model"):
        unpack(packed, {name: value for name, value in tree(0).items() if name != "c"})
    with refused(DataError, "634 int8 codes", "float32[1]", "expected float32[2]"):
        unpack(Packed(packed.codes, packed.scales[:-1]), tree(0))
    with refused(DataError, "int16[634]", "expected float32, float16, int8"):
        unpack(Packed(packed.codes.astype(np.int16), packed.scales), tree(0))
