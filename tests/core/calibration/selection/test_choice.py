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
    nobody = np.asarray([[1.0, 1.0, 0.0, 0.0, 0.0, 1.0, 1.0, 1.0, 1.0]])
    unlucky = nobody.copy()
    unlucky[0, 2] = hurt
    proposing, testing = Figures(np.asarray([100.0]), nobody), Figures(np.asarray([float(testers)]), unlucky)
    return Evidence(proposing, testing, testing, testing)


@pytest.mark.parametrize(
    ("testers", "hurt", "passed", "limit"),
    [(144, 3, 1, 0.05), (144, 4, 0, 0.05), (80, 1, 1, 0.05), (80, 2, 0, 0.05), (20, 1, 1, 0.181), (20, 2, 0, 0.181)],
)
def test_the_limit_is_the_risk_or_what_one_hurt_tester_shows(
    testers: int, hurt: int, passed: int, limit: float
) -> None:
    found = choice.tested_along([0], evidence(testers, hurt), Limits())
    assert found.passed == passed
    assert found.limit == pytest.approx(limit, abs=1e-4)


def test_a_limit_that_must_be_shown_is_the_risk() -> None:
    limits = Limits(must_show=True)
    assert [choice.tested_along([0], evidence(144, hurt), limits).passed for hurt in (3, 5)] == [1, 0]
    assert choice.tested_along([0], evidence(50, 1), limits).limit == 0.05, "50 can show it, if none of them is hurt"


def test_the_people_needed_are_as_unlucky_as_those_who_test() -> None:
    """80 people, of whom the only one that is hurt is among the 51 testers."""
    seen = evidence(51, 1)
    nobody = Figures(seen.testing.people, seen.proposing.sums)
    everyone = Figures(np.asarray([80.0]), seen.testing.sums)
    lucky, unlucky = (
        choice.described(0, 0.074, seen._replace(testing=testing, everyone=everyone), Limits()).harm.needed
        for testing in (nobody, seen.testing)
    )
    assert lucky == 129, "77 testers show it if one in 80 is hurt"
    assert unlucky is not None
    assert unlucky > 150, "at one in 51 they have two hurt among them"
