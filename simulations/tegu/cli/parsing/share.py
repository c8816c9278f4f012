"""A share of users, given as text because a word is allowed in its place."""

from __future__ import annotations

from tegu.core.errors import DataError

__all__ = ["parse_share"]


def parse_share(name: str, text: str) -> float:
    """The number in the text.

    Raises:
        DataError: it is no number.
    """
    try:
        return float(text)
    except ValueError as error:
        raise DataError(f"{name} is {text!r}: expected a share of users such as 0.05, or strict") from error
