"""What torch raises, as an error of a runtime."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from tegu.core.errors import RuntimeFailure

__all__ = ["explained"]


@contextmanager
def explained(function: str) -> Iterator[None]:
    """Raise a `RuntimeFailure` for an error of torch in the block.

    Args:
        function: what the block does, for the message.
    """
    try:
        yield
    except (RuntimeError, IndexError, TypeError, ValueError, KeyError, AssertionError) as error:
        if isinstance(error, RuntimeFailure):
            raise
        raise RuntimeFailure(
            f"torch cannot {function} ({error}): check the module, the rows and the optimiser"
        ) from error
