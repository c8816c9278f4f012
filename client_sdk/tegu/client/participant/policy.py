"""When a device takes part, and how much of it a federation may use."""

from __future__ import annotations

import math
import random
from collections.abc import Callable
from dataclasses import dataclass

from tegu.core.errors import DataError
from tegu.core.scalars import real_number, whole_number

__all__ = ["Policy", "always", "back_off"]

_LEAST_BACK_OFF, _MOST_BACK_OFF = 1.0, 300.0  # seconds
_JITTER = 0.5  # of a wait, so that devices do not come back all at once


def always() -> bool:
    """The answer of a device that may always take part."""
    return True


@dataclass(frozen=True)
class Policy:
    """What a participant may use of its device.

    Attributes:
        only_when: whether the device may take part now, for example whether it charges and has Wi-Fi. Asked before
            every contact with the server, in the participant's thread. An error counts as no.
        least_seconds: between two rounds that the device answers; it is not connected meanwhile.
        threads: of ONNX Runtime within one operator.
        daily_bytes: sent and received in a day (UTC), together, headers included.
        poll_seconds: between two questions for a message, for a minute after each message.
        idle_seconds: between two such questions after a longer silence.
        seed: of the jitter in waits; None for a random one.

    Raises:
        DataError: a number is out of range, or `only_when` cannot be called.
    """

    only_when: Callable[[], bool] = always
    least_seconds: float = 0.0
    threads: int = 1
    daily_bytes: int = 100_000_000
    poll_seconds: float = 1.0
    idle_seconds: float = 20.0
    seed: int | None = None

    def __post_init__(self) -> None:
        if not callable(self.only_when):
            raise DataError(f"only_when is {self.only_when!r}: expected a function without arguments")
        object.__setattr__(self, "threads", whole_number("threads", self.threads, 1))
        object.__setattr__(self, "daily_bytes", whole_number("daily_bytes", self.daily_bytes, 0))
        for name, least in (("least_seconds", 0.0), ("poll_seconds", 0.01), ("idle_seconds", 0.01)):
            value = real_number(name, getattr(self, name), least)
            if not math.isfinite(value):
                raise DataError(f"{name} is {value}: expected a finite number of seconds")
            object.__setattr__(self, name, value)


def back_off(failures: int, jitter: random.Random) -> float:
    """Seconds to wait after so many failures in succession: twice as long each time, up to five minutes, with jitter.

    Args:
        failures: from 1.
        jitter: source of randomness.
    """
    wait = min(math.ldexp(_LEAST_BACK_OFF, min(failures - 1, 30)), _MOST_BACK_OFF)
    return wait * (1 - _JITTER * jitter.random())
