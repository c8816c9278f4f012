"""Lists of whole numbers on the command line."""

from __future__ import annotations

import pytest

from tegu.cli.parsing.numbers import parse_numbers
from tegu.core.errors import DataError


def test_numbers_are_separated_by_commas() -> None:
    assert parse_numbers("shots", "1, 5,20,") == (1, 5, 20)


@pytest.mark.parametrize("text", ["", ",", "one", "1;5", "-1", "1.5"])
def test_anything_else_is_an_error(text: str) -> None:
    with pytest.raises(DataError, match=r"shots is .*expected whole numbers separated by commas"):
        parse_numbers("shots", text)
