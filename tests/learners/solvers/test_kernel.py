"""The kernel of rows of length 1, by hand."""

from __future__ import annotations

import math

import pytest
import torch
from tests.learners.toys import unit_rows

from tegu.learners.solvers.kernel import kernel, unit_length


@pytest.mark.parametrize("mix", [0.0, 0.3, 1.0])
def test_the_kernel_by_hand(mix):
    a, b = unit_rows(4, 3), unit_rows(5, 3, 1)
    found = kernel(a, b, mix)
    for i in range(4):
        for j in range(5):
            cosine = sum(float(x) * float(y) for x, y in zip(a[i], b[j], strict=True))
            assert float(found[i, j]) == pytest.approx(
                mix * cosine + (1 - mix) * math.exp(-(1 - cosine) / 0.25), abs=1e-6
            )


def test_rows_have_length_one_and_zeros_stay():
    found = unit_length(torch.tensor([[3.0, 4.0], [0.0, 0.0], [1e-20, 0.0]]))
    torch.testing.assert_close(found[0], torch.tensor([0.6, 0.8]))
    assert not found[1].any()
    assert torch.isfinite(found).all()
