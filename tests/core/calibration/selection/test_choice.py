"""The share of users that a testing group is asked to show."""

from __future__ import annotations

import numpy as np
import pytest

from tegu.core.calibration.selection import choice
from tegu.core.calibration.selection.choice import Evidence
from tegu.core.calibration.selection.figures import Figures
from tegu.core.calibration.selection.limits import Limits


def evidence(testers: int, hurt: int) -> Evidence:
    """One candidate that everybody gains from, but for some testers."""
    nobody = np.asarray([[1.0, 1.0, 0.0, 0.0, 0.0, 1.0, 1.0]])
    unlucky = nobody.copy()
    unlucky[0, 2] = hurt
    proposing, testing = Figures(np.asarray([100.0]), nobody), Figures(np.asarray([float(testers)]), unlucky)
    return Evidence(proposing, testing, testing, testing)


@pytest.mark.parametrize(
    ("testers", "hurt", "passed", "limit"),
    [(144, 5, 1, 0.0635), (144, 6, 0, 0.0635), (80, 3, 1, 0.0816), (20, 1, 1, 0.181), (400, 13, 1, 0.05)],
)
def test_a_candidate_with_half_the_risk_passes_four_times_in_five(
    testers: int, hurt: int, passed: int, limit: float
) -> None:
    found = choice.tested_along([0], evidence(testers, hurt), Limits())
    assert (found.passed, found.limit) == (passed, pytest.approx(limit, abs=1e-4))


def test_a_limit_that_must_be_shown_is_the_risk() -> None:
    limits = Limits(must_show=True)
    assert [choice.tested_along([0], evidence(144, hurt), limits).passed for hurt in (3, 5)] == [1, 0]
    assert choice.tested_along([0], evidence(50, 1), limits).limit == 0.05, "50 can show it, if none of them is hurt"
