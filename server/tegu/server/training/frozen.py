"""Setting a field of a frozen dataclass while it is made."""

from __future__ import annotations

__all__ = ["set_field"]


def set_field(plan: object, name: str, value: object) -> None:
    """Set a field in `__post_init__`, such as to Python's own number in place of numpy's."""
    object.__setattr__(plan, name, value)
