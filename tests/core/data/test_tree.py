from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.core.samples import alike, refused, same_tree, trees

from tegu.core.data import tree
from tegu.core.data.tree import Tree
from tegu.core.errors import DataError

A = np.array([3.0, 4.0], np.float32)


@given(alike(3))
@settings(deadline=None)
def test_addition_is_commutative_and_associative(three: list[Tree]) -> None:
    a, b, c = three
    assert same_tree(tree.add(a, b), tree.add(b, a))
    assert same_tree(tree.add(tree.add(a, b), c), tree.add(a, tree.add(b, c)))


@given(alike(2))
@settings(deadline=None)
def test_subtraction_undoes_addition(two: list[Tree]) -> None:
    a, b = two
    assert same_tree(tree.subtract(tree.add(a, b), b), a)
    assert same_tree(tree.subtract(a, a), tree.zeros_like(a))
    assert same_tree(tree.add(a, tree.zeros_like(a)), a)


@given(alike(2))
@settings(deadline=None)
def test_scaling_distributes_and_one_is_neutral(two: list[Tree]) -> None:
    a, b = two
    assert same_tree(tree.scale(a, 1.0), a)
    assert same_tree(tree.scale(a, 2.0), tree.add(a, a))
    assert same_tree(tree.scale(tree.add(a, b), 4.0), tree.add(tree.scale(a, 4.0), tree.scale(b, 4.0)))


@given(alike(2), st.floats(-8, 8))
@settings(deadline=None)
def test_the_norm_is_a_norm(two: list[Tree], factor: float) -> None:
    a, b = two
    floats = {name: array.astype(np.float64) for name, array in a.items()}
    assert tree.norm(tree.scale(floats, factor)) == pytest.approx(abs(factor) * tree.norm(floats))
    assert tree.norm(tree.add(a, b)) <= tree.norm(a) + tree.norm(b) + 1e-9
    assert tree.norm(a) == pytest.approx(np.sqrt(sum((array.astype(float) ** 2).sum() for array in a.values())))
    assert (tree.norm(a) == 0) == all(not array.any() for array in a.values())


def test_the_norm_sums_in_float64() -> None:
    assert tree.norm({"w": np.full(2, 1e30, np.float32)}) == pytest.approx(np.sqrt(2) * 1e30)


@given(alike(1), st.floats(1e-3, 1e4))
@settings(deadline=None)
def test_clip_keeps_the_limit_and_the_direction(one: list[Tree], limit: float) -> None:
    (a,) = one
    clipped, length = tree.clip(a, limit), tree.norm(a)
    tree.check_same_layout(clipped, a)
    assert tree.norm(clipped) <= limit * (1 + 1e-6)
    if length <= limit:
        assert same_tree(clipped, a)
    else:
        assert same_tree(clipped, tree.scale(a, limit / length))


def test_clip_shrinks_to_exactly_the_limit() -> None:
    assert np.allclose(tree.clip({"w": A}, 1.0)["w"], [0.6, 0.8])


@given(alike(2))
@settings(deadline=None)
def test_max_difference_is_a_distance(two: list[Tree]) -> None:
    a, b = two
    assert tree.max_difference(a, b) == tree.max_difference(b, a)
    assert (tree.max_difference(a, b) == 0) == same_tree(tree.add(a, tree.zeros_like(a)), b)
    assert tree.max_difference(a, b) == max((float(abs(a[n] - b[n]).max()) for n in a if a[n].size), default=0)


@pytest.mark.parametrize("names", ["ab", "ba"])
def test_max_difference_never_loses_a_nan(names: str) -> None:
    zero = {name: np.zeros(1) for name in names}
    assert np.isnan(tree.max_difference(zero, zero | {"a": np.ones(1), "b": np.full(1, np.nan)}))


OPERATIONS: dict[str, Callable[[Tree, Tree], Any]] = {
    "add": tree.add,
    "subtract": tree.subtract,
    "scale": lambda a, b: tree.scale(a, 3.0),
    "zeros_like": lambda a, b: tree.zeros_like(a),
    "norm": lambda a, b: tree.norm(a),
    "clip": lambda a, b: tree.clip(a, 0.5),
    "max_difference": tree.max_difference,
    "digest": lambda a, b: tree.digest(a),
    "check_same_layout": tree.check_same_layout,
}


@pytest.mark.parametrize("name", OPERATIONS)
@given(alike(2))
@settings(deadline=None, max_examples=25)
def test_no_operation_changes_its_inputs(name: str, two: list[Tree]) -> None:
    before = [{key: array.copy() for key, array in each.items()} for each in two]
    OPERATIONS[name](*two)
    assert all(same_tree(*pair) for pair in zip(two, before, strict=True))


@pytest.mark.parametrize("name", ["add", "subtract", "scale", "zeros_like", "clip"])
@pytest.mark.parametrize("shape", [(), (0,), (2, 3)])
@pytest.mark.parametrize("dtype", ["float32", "float64", "int64"])
def test_every_operation_keeps_the_layout(name: str, shape: tuple[int, ...], dtype: str) -> None:
    a = {"w": np.ones(shape, dtype)}
    result = OPERATIONS[name](a, a)
    assert isinstance(result["w"], np.ndarray)  # a sum of 0-d arrays is a scalar unless one takes care
    tree.check_same_layout(result, a)


@given(st.data())
@settings(deadline=None)
def test_operations_go_by_name_and_not_by_order(data: st.DataObject) -> None:
    a, b = data.draw(alike(2))
    shuffled = {name: b[name] for name in data.draw(st.permutations(list(b)))}
    for operation in OPERATIONS.values():
        first, second = operation(a, b), operation(a, shuffled)
        assert same_tree(first, second) if isinstance(first, dict) else first == second


@given(trees, st.data())
@settings(deadline=None)
def test_digest_ignores_order_and_memory_layout(a: Tree, data: st.DataObject) -> None:
    order = data.draw(st.permutations(list(a)))
    assert tree.digest(a) == tree.digest({name: a[name].copy(order="C") for name in order})


@given(trees, trees)
@settings(deadline=None)
def test_digest_is_equal_exactly_for_equal_bits(a: Tree, b: Tree) -> None:
    assert (tree.digest(a) == tree.digest(b)) == same_tree(a, b)


@given(trees, st.data())
@settings(deadline=None)
def test_digest_sees_every_bit(a: Tree, data: st.DataObject) -> None:
    filled = [name for name in a if a[name].size]
    if not filled:
        return
    changed = {name: array.copy(order="C") for name, array in a.items()}
    raw = changed[data.draw(st.sampled_from(filled))].reshape(-1).view(np.uint8)
    raw[data.draw(st.integers(0, len(raw) - 1))] ^= 1 << data.draw(st.integers(0, 7))
    assert tree.digest(changed) != tree.digest(a)


EMPTY = np.zeros(0, np.float32)


@pytest.mark.parametrize(
    ("a", "b"),
    [
        ({"w": np.zeros((), np.float32)}, {"w": np.zeros(1, np.float32)}),
        ({"w": np.zeros((2, 3))}, {"w": np.zeros((3, 2))}),
        ({"w": np.zeros((0, 3))}, {"w": np.zeros((3, 0))}),
        ({"w": np.zeros(2, np.float64)}, {"w": np.zeros(2, np.int64)}),
        ({"w": np.array([0.0])}, {"w": np.array([-0.0])}),
        ({"w": A, "v": A + 1}, {"w": A + 1, "v": A}),
        ({}, {"w": EMPTY}),
        ({"a": EMPTY, "b": EMPTY}, {"a\0<f4\0(0,)\0b": EMPTY}),
        ({"a": EMPTY, "b": EMPTY}, {"a\0<f4(0,)b": EMPTY}),
        ({"a": EMPTY, "b": EMPTY}, {"a<f4(0,)b": EMPTY}),
        ({"a": EMPTY, "b": EMPTY}, {"a'<f4(0,)'b": EMPTY}),
    ],
)
def test_digest_tells_apart_what_only_looks_alike(a: Tree, b: Tree) -> None:
    assert tree.digest(a) != tree.digest(b)


@pytest.mark.parametrize("operation", [tree.add, tree.subtract, tree.max_difference, tree.check_same_layout])
@pytest.mark.parametrize(
    ("other", "found"),
    [
        ({}, "absent"),
        ({"w": A, "extra": A}, "'extra'"),
        ({"w": A[:1]}, "float32[1]"),
        ({"w": A.astype(np.float64)}, "float64[2]"),
    ],
)
def test_trees_of_different_layout_are_refused(operation: Callable[[Tree, Tree], Any], other: Tree, found: str) -> None:
    with refused(DataError, found, "float32[2]", "same model"):
        operation({"w": A}, other)
    with refused(DataError, found, "float32[2]"):
        operation(other, {"w": A})
