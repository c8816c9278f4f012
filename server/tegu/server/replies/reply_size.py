"""How large a message may be. No round asks for as much."""

from __future__ import annotations

__all__ = ["MOST_BYTES", "MOST_OBJECTS", "check_size"]

MOST_BYTES = 1 << 30
MOST_OBJECTS = 10_000
"""An array is two objects, and one more for each 5 MiB."""


def check_size(found: int, most: int, what: str) -> None:
    """Check a size of a message.

    Raises:
        ValueError: it is larger than `most`.
    """
    if found > most:
        raise ValueError(f"it has {found:,} {what}: expected at most {most:,}")
