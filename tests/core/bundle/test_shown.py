"""What was shown about harm, in words."""

from __future__ import annotations

import pytest

from tegu.core.bundle.shown import FrontierPoint, HarmShown, frontier_from, harm_from

FEW = HarmShown(0.068, 0.9, 61, 0.0, 0.1, 0.05, 90, 0.05)


@pytest.mark.parametrize(
    ("shown", "words"),
    [
        (
            FEW,
            "with 90% confidence at most 6.8% of people like these are materially hurt (61 people; 5% would take 90)",
        ),
        (
            FEW._replace(bound=0.05, people=1200),
            "with 90% confidence at most 5% of people like these are materially hurt (1200 people)",
        ),
        (
            FEW._replace(hurt=0.08, needed=None),
            "with 90% confidence at most 6.8% of people like these are materially hurt "
            "(61 people; 5% cannot be shown, because 8% of them are hurt)",
        ),
    ],
)
def test_harm_in_words(shown: HarmShown, words: str) -> None:
    assert str(shown) == words


def test_a_point_of_the_frontier_in_words() -> None:
    assert str(FrontierPoint(0.05, 0.3125, 0.021, 0.08)) == "risk 5%: gain 0.312, 2.1% hurt, harm ratio 0.08"
    assert str(FrontierPoint(None, 0.4, 0.2, 0.5)).startswith("no limit: gain 0.4,")


def test_fields_there_and_back() -> None:
    assert harm_from(FEW._asdict()) == FEW
    point = FrontierPoint(None, 0.4, 0.2, 0.5)
    assert frontier_from(point._asdict()) == point
