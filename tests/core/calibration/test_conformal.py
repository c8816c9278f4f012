"""p-values by counting, and that thinning never makes one smaller."""

from __future__ import annotations

import numpy as np
import pytest

from tegu.core.calibration.conformal import MAX_QUANTILES, conformal_quantiles, p_value


@pytest.mark.parametrize(
    ("own", "expected"), [(0.5, 1.0), (1.0, 1.0), (1.5, 0.75), (2.0, 0.75), (3.5, 0.25), (float("nan"), 0.25)]
)
def test_how_many_are_at_least_as_large(own: float, expected: float) -> None:
    assert p_value((1.0, 2.0, 3.0), own) == expected


def test_without_others_nothing_is_unusual() -> None:
    assert p_value((), 5.0) == 1.0


@pytest.mark.parametrize("count", [1, 98, 99])
def test_few_are_kept_as_they_are(count: int) -> None:
    figures = np.random.default_rng(count).permutation(count) / 7
    assert conformal_quantiles(figures.tolist()) == tuple(float(f"{each:.6g}") for each in sorted(figures))


@pytest.mark.parametrize("count", [100, 101, 237, 1000, 12_345])
def test_thinning_keeps_p_values_honest(count: int) -> None:
    """One more person drawn as the others were: each rank is as probable, and P(p <= level) is at most the level."""
    figures = np.arange(1, count + 1, dtype=float)
    kept = conformal_quantiles(np.random.default_rng(0).permutation(figures).tolist())
    assert len(kept) == MAX_QUANTILES
    assert list(kept) == sorted(kept)
    between = np.arange(count + 1) + 0.5  # the places that one more can have among them
    found = np.asarray([p_value(kept, own) for own in between])
    for level in (0.01, 0.02, 0.05, 0.1, 0.37, 0.5, 0.9):
        share = (found <= level + 1e-9).mean()
        assert share <= level + 1e-9
        assert share > level - 1 / (MAX_QUANTILES + 1) - 2 / count, "thinning costs no more than it must"
