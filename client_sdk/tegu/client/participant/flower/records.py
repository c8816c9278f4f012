"""The records of a message, as `flwr.app` has them, without its checks."""

from __future__ import annotations

from typing import Any, NamedTuple, TypeVar

__all__ = ["Array", "ArrayRecord", "ConfigRecord", "MetricRecord", "RecordDict"]

RecordT = TypeVar("RecordT", bound="dict[str, Any]")


class Array(NamedTuple):
    """An array as bytes.

    Attributes:
        dtype: its name.
        shape: of the array.
        stype: the format of the bytes.
        data: the bytes.
    """

    dtype: str
    shape: tuple[int, ...]
    stype: str
    data: bytes


class ArrayRecord(dict[str, Array]):
    """Arrays by name."""


class ConfigRecord(dict[str, Any]):
    """Settings by name: numbers, truth values, texts, bytes, and lists of them."""


class MetricRecord(dict[str, Any]):
    """Numbers and lists of numbers by name."""


class RecordDict(dict[str, Any]):
    """Records by name."""

    @property
    def array_records(self) -> dict[str, ArrayRecord]:
        """The records of arrays."""
        return self._of(ArrayRecord)

    @property
    def config_records(self) -> dict[str, ConfigRecord]:
        """The records of settings."""
        return self._of(ConfigRecord)

    @property
    def metric_records(self) -> dict[str, MetricRecord]:
        """The records of metrics."""
        return self._of(MetricRecord)

    def _of(self, kind: type[RecordT]) -> dict[str, RecordT]:
        return {name: record for name, record in self.items() if isinstance(record, kind)}
