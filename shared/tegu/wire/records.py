"""The classes of the records that carry rounds: Flower's, which are imported when one is made, or others like them."""

from __future__ import annotations

import importlib
from typing import Any, Protocol

__all__ = ["FLOWER", "Records"]


class Records(Protocol):
    """The classes, named as in `flwr.app`, each made from a dictionary; an `Array` from its fields."""

    @property
    def Array(self) -> Any:  # noqa: N802 # Flower's name
        """An array as bytes."""

    @property
    def ArrayRecord(self) -> Any:  # noqa: N802
        """Arrays by name."""

    @property
    def ConfigRecord(self) -> Any:  # noqa: N802
        """Settings by name."""

    @property
    def MetricRecord(self) -> Any:  # noqa: N802
        """Numbers by name."""

    @property
    def RecordDict(self) -> Any:  # noqa: N802
        """Records by name."""


class _Flower:
    def __getattr__(self, name: str) -> Any:
        return getattr(importlib.import_module("flwr.app"), name)


FLOWER: Any = _Flower()
"""Flower's own classes."""
