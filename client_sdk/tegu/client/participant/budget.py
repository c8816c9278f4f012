"""The bytes that a participant has used in a day, kept in the user's store over restarts of the app."""

from __future__ import annotations

import datetime
import time

from tegu.client.consent import Consent

__all__ = ["ByteBudget", "utc_day"]

_WRITE_BYTES, _WRITE_SECONDS = 1 << 20, 600.0  # a write for every question would wear a phone's flash out


def utc_day() -> str:
    """Today in ISO 8601, in UTC."""
    return datetime.datetime.now(datetime.UTC).date().isoformat()


class ByteBudget:
    """Counts the bytes of a day. What was not written yet is lost when the process is killed: at most a megabyte.

    Args:
        consent: of the user's store.
        most: bytes of a day.

    Raises:
        StoreError: the store cannot be read.
    """

    def __init__(self, consent: Consent, most: int) -> None:
        self._consent, self._most = consent, most
        agreed, self._day = consent.read(), utc_day()
        self._written = agreed.transferred if agreed is not None and agreed.day == self._day else 0
        self._unwritten, self._written_at = 0, time.monotonic()

    @property
    def used(self) -> int:
        """Bytes of today."""
        self._turn_day()
        return self._written + self._unwritten

    @property
    def left(self) -> int:
        """Bytes that may still be used today."""
        return max(0, self._most - self.used)

    def count(self, more: int) -> None:
        """Count bytes.

        Raises:
            StoreError: the store cannot be written; they stay counted.
        """
        self._turn_day()
        self._unwritten += more
        if self._unwritten >= _WRITE_BYTES or time.monotonic() - self._written_at >= _WRITE_SECONDS:
            self.write()

    def write(self) -> None:
        """Keep in the store what was counted.

        Raises:
            StoreError: the store cannot be written; it stays counted.
        """
        if self._unwritten:
            stored = self._consent.add_bytes(self._day, self._unwritten)
            # A user who withdraws and agrees again on the same day does not get a second budget.
            self._written, self._unwritten = max(stored, self._written + self._unwritten), 0
        self._written_at = time.monotonic()

    def _turn_day(self) -> None:
        today = utc_day()
        if today != self._day:
            self._day, self._written, self._unwritten = today, 0, 0
