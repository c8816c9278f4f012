"""The identity that defines minimal filtering, in exact fractions."""

from __future__ import annotations

from fractions import Fraction

import pytest

from tegu.compile.operators.convolution.minimal_filtering import OUTPUTS, minimal_filtering

PAIRS = [(outputs, taps) for taps, several in OUTPUTS.items() for outputs in several]
PRODUCTS = {(4, 3): 6, (7, 3): 10, (4, 5): 9, (7, 5): 13}


@pytest.mark.parametrize(("outputs", "taps"), PAIRS)
def test_the_matrices_give_exact_correlation(outputs: int, taps: int) -> None:
    filtering = minimal_filtering(outputs, taps)
    assert len(filtering.data) == len(filtering.kernel) == len(filtering.output) == PRODUCTS[outputs, taps]
    for y in range(outputs):
        for tap in range(taps):
            for index in range(outputs + taps - 1):
                # The coefficient of kernel entry `tap` times datum `index` in output `y`. Both sides are bilinear, so
                # equal coefficients prove the identity.
                rows = zip(filtering.output, filtering.kernel, filtering.data, strict=True)
                found = sum((o[y] * k[tap] * d[index] for o, k, d in rows), Fraction(0))
                assert found == (index == y + tap)
