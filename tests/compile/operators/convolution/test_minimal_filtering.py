"""The identity that defines minimal filtering, in exact numbers."""

from __future__ import annotations

from fractions import Fraction

import pytest

from tegu.compile.operators.convolution.minimal_filtering import OUTPUTS, minimal_filtering

PAIRS = [(outputs, taps) for taps, several in OUTPUTS.items() for outputs in several]
PRODUCTS = {(4, 3): 6, (7, 3): 10, (4, 5): 9, (7, 5): 13}


@pytest.mark.parametrize(("outputs", "taps"), PAIRS)
def test_the_products_make_the_correlation_exactly(outputs: int, taps: int) -> None:
    filtering = minimal_filtering(outputs, taps)
    assert len(filtering.data) == len(filtering.kernel) == len(filtering.output) == PRODUCTS[outputs, taps]
    for y in range(outputs):
        for tap in range(taps):
            for place in range(outputs + taps - 1):
                # Of kernel entry `tap` times datum `place` in output `y`: bilinear, so that these are all there is.
                rows = zip(filtering.output, filtering.kernel, filtering.data, strict=True)
                found = sum((o[y] * k[tap] * d[place] for o, k, d in rows), Fraction(0))
                assert found == (place == y + tap)
