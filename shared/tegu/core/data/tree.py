"""Parameter trees: flat mappings from a name to an array, and the operations of the outer loop.

Trees are never changed in place. Operations match entries by name; the order of entries has no meaning.
numpy turns a sum of 0-d arrays into a scalar; `np.asarray` keeps it an array, as safetensors and torch require.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Collection, Mapping
from typing import TypeAlias, TypeVar

import numpy as np

from tegu.core.data.batch import Array
from tegu.core.errors import DataError

__all__ = [
    "Tree",
    "add",
    "check_same_layout",
    "clip",
    "digest",
    "has_same_layout",
    "max_difference",
    "norm",
    "scale",
    "subtract",
    "trained_part",
    "zeros_like",
]

Tree: TypeAlias = Mapping[str, Array]
T = TypeVar("T")


def check_same_layout(a: Tree, b: Tree) -> None:
    """Check that two trees have the same names, shapes and dtypes.

    Raises:
        DataError: they differ; the message names the first entry that differs.
    """
    for name in sorted({*a, *b}):
        if name not in a or name not in b or (a[name].dtype, a[name].shape) != (b[name].dtype, b[name].shape):
            found = [f"{t[name].dtype}{list(t[name].shape)}" if name in t else "absent" for t in (a, b)]
            raise DataError(
                f"parameter {name!r} is {found[0]} in one tree and {found[1]} in the other: "
                "both must come from the same model"
            )


def has_same_layout(a: Tree, b: Tree) -> bool:
    """Whether two trees have the same names, shapes and dtypes."""
    return a.keys() == b.keys() and all((a[n].shape, a[n].dtype) == (b[n].shape, b[n].dtype) for n in a)


def add(a: Tree, b: Tree) -> Tree:
    """`a + b`."""
    check_same_layout(a, b)
    return {name: np.asarray(a[name] + b[name]) for name in a}


def subtract(a: Tree, b: Tree) -> Tree:
    """`a - b`."""
    check_same_layout(a, b)
    return {name: np.asarray(a[name] - b[name]) for name in a}


def scale(tree: Tree, factor: float) -> Tree:
    """`factor * tree`; each array keeps its dtype."""
    return {name: np.asarray(array * factor, dtype=array.dtype) for name, array in tree.items()}


def zeros_like(tree: Tree) -> Tree:
    """A tree of zeros with the same names, shapes and dtypes."""
    return {name: np.zeros_like(array) for name, array in tree.items()}


def norm(tree: Tree) -> float:
    """The Euclidean norm of all entries together, summed in float64."""
    return float(np.sqrt(sum(float(np.sum(np.square(array, dtype=np.float64))) for array in tree.values())))


def clip(tree: Tree, limit: float) -> Tree:
    """`tree`, scaled down so that its norm is at most `limit` (McMahan et al. 2018, flat clipping)."""
    if limit == math.inf:
        return dict(tree)  # without the norm, which is a thirtieth of a simulated round's work
    found = norm(tree)
    return scale(tree, limit / found) if found > limit else dict(tree)


def max_difference(a: Tree, b: Tree) -> float:
    """The largest absolute difference between entries of the same name; 0 for empty trees, NaN if any is NaN."""
    check_same_layout(a, b)
    largest = [np.max(np.abs(a[name] - b[name]), initial=0.0) for name in a]
    return float(np.max(largest, initial=0.0))  # the built-in max loses a NaN that does not come first


def trained_part(meta: Mapping[str, T], fixed: Collection[str]) -> dict[str, T]:
    """The entries of `meta` that training changes: all but those called `fixed`. Updates have this layout."""
    return {name: value for name, value in meta.items() if name not in fixed}


def digest(tree: Tree) -> str:
    """Sha256 over names, dtypes, shapes and bytes. Equal exactly for trees that are equal bit for bit."""
    sha = hashlib.sha256()
    for name in sorted(tree):
        array = tree[name]
        sha.update(f"{name!a}{array.dtype.str}{array.shape}".encode())  # quoted: no name can imitate a header
        sha.update(array.tobytes())
    return sha.hexdigest()
