"""Fewer bytes a number, against the definition in exact arithmetic, block by block."""

from __future__ import annotations

import math
from typing import get_args

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from tests.core.samples import refused, same_array

from tegu.core.compression.precision import BLOCK, Precision, check_precision, decode, encode
from tegu.core.data.batch import Array
from tegu.core.errors import DataError, UnknownNameError

PRECISIONS: tuple[Precision, ...] = get_args(Precision)
MAX = float(np.finfo(np.float32).max)
ROUNDING = 2.0**-22  # of a few float32 operations, relative
TINY = 1e-43  # below it float32 has no bits to round to

sizes = st.sampled_from([0, 1, 2, BLOCK - 1, BLOCK, BLOCK + 1, 2 * BLOCK, 2 * BLOCK + 3])


@st.composite
def numbers(draw: st.DrawFn, largest: float = MAX) -> Array:
    """Any finite float32, mostly of one magnitude in an array."""
    finite = st.floats(-largest, largest, width=32)
    array = draw(hnp.arrays(np.float32, draw(sizes), elements=finite, fill=finite))
    with np.errstate(under="ignore"):
        return np.asarray(array * np.float32(draw(st.sampled_from([1.0, 1e-3, 1e-30, 1e-44]))))


@given(numbers(), st.sampled_from(PRECISIONS))
@settings(deadline=None)
def test_dtypes_and_shapes(flat: Array, precision: Precision) -> None:
    codes, scales = encode(flat, precision)
    assert (codes.dtype, codes.shape) == (np.dtype(precision), flat.shape)
    blocks = math.ceil(len(flat) / 512) if precision == "int8" else 0
    assert (scales.dtype, scales.shape) == (np.float32, (blocks,))
    found = decode(codes, scales)
    assert (found.dtype, found.shape) == (np.float32, flat.shape)
    assert found.flags.writeable


@given(numbers(), st.sampled_from(PRECISIONS))
@settings(deadline=None)
def test_the_same_bits_every_time_and_the_input_is_left_alone(flat: Array, precision: Precision) -> None:
    before = flat.copy()
    flat.flags.writeable = False
    first, second = encode(flat, precision), encode(np.repeat(flat, 2)[::2], precision)
    assert same_array(flat, before)
    assert all(same_array(a, b) for a, b in zip(first, second, strict=True))
    assert same_array(decode(*first), decode(*second))


@given(hnp.arrays(np.float32, sizes))
@settings(deadline=None)
def test_float32_is_kept_bit_for_bit(flat: Array) -> None:
    assert same_array(decode(*encode(flat, "float32")), flat)


@given(numbers())
@settings(deadline=None)
def test_an_int8_is_off_by_half_a_scale_at_most(flat: Array) -> None:
    codes, scales = encode(flat, "int8")
    found = decode(codes, scales)
    assert codes.min(initial=0) >= -127
    for number, start in enumerate(range(0, len(flat), 512)):
        block = slice(start, start + 512)
        exact = [abs(float(x)) for x in flat[block]]
        scale = max(exact) / 127
        assert float(scales[number]) == pytest.approx(scale, rel=ROUNDING, abs=TINY)
        error = np.abs(found[block].astype(np.float64) - flat[block])
        assert (error <= scale / 2 + max(exact) * ROUNDING + TINY).all()


@given(numbers(65504.0))
@settings(deadline=None)
def test_a_float16_is_off_by_half_a_unit_at_most(flat: Array) -> None:
    """Ten bits follow a float16's first; below 2^-14 they are of fixed size."""
    found = decode(*encode(flat, "float16"))
    for x, y in zip(flat.tolist(), found.tolist(), strict=True):
        unit = 2.0 ** (max(math.frexp(x)[1] - 1, -14) - 10)
        assert abs(x - y) <= unit / 2


def test_by_hand() -> None:
    flat = np.zeros(514, np.float32)
    flat[[0, 1, 2, 3, 512]] = 254.0, -127.0, 1.0, 2.9, -0.5
    codes, scales = encode(flat, "int8")
    assert scales.tolist() == [2.0, np.float32(0.5) / np.float32(127)]
    assert codes[:5].tolist() == [127, -64, 0, 1, 0]  # halves go to the even code, as in IEEE 754
    assert codes[512:].tolist() == [-127, 0]
    assert decode(codes, scales)[:4].tolist() == [254.0, -128.0, 0.0, 2.0]
    assert encode(np.array([1.0, 2049.0], np.float32), "float16")[0].tolist() == [1.0, 2048.0]


@pytest.mark.parametrize("precision", PRECISIONS)
@pytest.mark.parametrize("size", [0, 1, 511, 512, 513, 1024])
def test_zeros_stay_zeros(precision: Precision, size: int) -> None:
    codes, scales = encode(np.zeros(size, np.float32), precision)
    assert not codes.any()
    assert not scales.any()
    assert same_array(decode(codes, scales), np.zeros(size, np.float32))


@pytest.mark.parametrize("largest", [MAX, -MAX])
def test_the_largest_float32_stays_finite(largest: float) -> None:
    flat = np.array([largest, largest / 2], np.float32)
    assert decode(*encode(flat, "int8")) == pytest.approx(flat, rel=0.01)


def test_a_scale_too_small_for_its_block() -> None:
    """190 and 95 times the smallest float32: their scale is one of it, and 190 steps of that do not fit."""
    codes, scales = encode(np.array([190, 95], np.float32) * np.float32(2.0**-149), "int8")
    assert (codes.tolist(), scales.tolist()) == ([127, 95], [2.0**-149])


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
def test_what_is_not_finite_stays_visible(bad: float) -> None:
    flat = np.ones(3 * 512 + 1, np.float32)
    flat[700] = bad
    broken = np.isnan(decode(*encode(flat, "int8")))
    assert np.flatnonzero(broken).tolist() == list(range(512, 1024)), "its block and no other"
    found = decode(*encode(flat, "float16"))
    assert np.flatnonzero(~np.isfinite(found)).tolist() == [700]
    assert str(found[700]) == str(bad)


@pytest.mark.parametrize(("number", "expected"), [(65504, 65504), (65519, 65504), (65520, math.inf), (-1e9, -math.inf)])
def test_float16_ends_in_an_infinity(number: float, expected: float) -> None:
    assert decode(*encode(np.array([number], np.float32), "float16")).tolist() == [expected]


def test_an_unknown_name() -> None:
    assert [check_precision(name) for name in PRECISIONS] == list(PRECISIONS)
    with refused(UnknownNameError, "no precision is called 'float61'", "Did you mean 'float16'?"):
        check_precision("float61")
    with refused(UnknownNameError, "'int4'", "Did you mean 'int8'?"):
        encode(np.zeros(1, np.float32), "int4")  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("flat", "found"),
    [
        (np.zeros(2), "float64[2]"),
        (np.zeros((2, 3), np.float32), "float32[2, 3]"),
        (np.zeros((), np.float32), "float32[]"),
    ],
)
def test_what_cannot_be_encoded(flat: Array, found: str) -> None:
    with refused(DataError, found, "expected float32 with one dimension"):
        encode(flat, "int8")


@pytest.mark.parametrize(
    ("codes", "scales", "parts"),
    [
        (np.zeros(513, np.int8), np.zeros(1, np.float32), ("513 int8 codes", "float32[1]", "expected float32[2]")),
        (np.zeros(3, np.int8), np.zeros(2, np.float32), ("float32[2]", "expected float32[1]")),
        (np.zeros(3, np.int8), np.zeros((), np.float32), ("float32[]", "expected float32[1]")),
        (np.zeros(3, np.int8), np.zeros(1, np.float16), ("float16[1]", "expected float32[1]")),
        (np.zeros(3, np.float16), np.zeros(1, np.float32), ("3 float16 codes", "expected float32[0]")),
        (np.zeros(3, np.int16), np.zeros(0, np.float32), ("int16[3]", "float32, float16, int8")),
        (np.zeros((3, 1), np.int8), np.zeros(1, np.float32), ("int8[3, 1]", "one dimension")),
    ],
)
def test_codes_and_scales_that_do_not_belong_together(codes: Array, scales: Array, parts: tuple[str, ...]) -> None:
    with refused(DataError, *parts):
        decode(codes, scales)


@pytest.mark.parametrize(("scale", "expected"), [(MAX, math.inf), (math.inf, math.inf), (math.nan, math.nan)])
def test_scales_that_nobody_encoded_warn_of_nothing(scale: float, expected: float) -> None:
    found = decode(np.array([0, 100], np.int8), np.array([scale], np.float32))
    assert str(found[1]) == str(expected)
