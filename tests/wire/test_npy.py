"""Our headers are numpy's: what we write it reads, and the other way round, to the bit."""

from __future__ import annotations

import io

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tegu.wire.npy import from_npy, to_npy

shapes = st.lists(st.integers(0, 5), max_size=4).map(tuple)


def saved(array: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    np.save(buffer, array)
    return buffer.getvalue()


@given(shapes, st.sampled_from(["float32", "float16", "int8", "int64", "bool", ">f4"]), st.booleans())
def test_the_bytes_are_numpys(shape: tuple[int, ...], dtype: str, turned: bool) -> None:
    array = np.arange(np.prod(shape), dtype="float64").reshape(shape).astype(dtype)
    array = array.T if turned else array
    assert to_npy(array) == saved(np.ascontiguousarray(array).reshape(array.shape))
    back = from_npy(to_npy(array))
    assert (back.dtype, back.shape, back.tolist()) == (array.dtype, array.shape, array.tolist())
    back[...] = 1  # a copy


@pytest.mark.parametrize(
    "data",
    [b"", b"words", saved(np.ones(3))[:-1], saved(np.ones(3)) + b"x", saved(np.asfortranarray(np.ones((2, 3))))],
)
def test_other_bytes_are_refused(data: bytes) -> None:
    with pytest.raises((ValueError, EOFError)):
        from_npy(data)
