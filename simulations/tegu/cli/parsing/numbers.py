"""Whole numbers as people write them on a command line: 1,5."""

from __future__ import annotations

from tegu.core.errors import DataError

__all__ = ["parse_numbers"]


def parse_numbers(name: str, text: str) -> tuple[int, ...]:
    """The numbers of a list such as "1,5".

    Args:
        name: of the option, for error messages.
        text: as given.

    Raises:
        DataError: something else.
    """
    parts = [part.strip() for part in text.split(",") if part.strip()]
    if not parts or not all(part.isdigit() for part in parts):
        raise DataError(f"{name} is {text!r}: expected whole numbers separated by commas, such as 1,5")
    return tuple(map(int, parts))
