"""What a participant does now, for the app to look at."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal, TypeAlias

__all__ = ["ParticipantState", "Status"]

Status: TypeAlias = Literal["stopped", "sits out", "unreachable", "refused", "connected"]


@dataclass(frozen=True)
class ParticipantState:
    """What a participant does now.

    Attributes:
        status: "stopped"; "sits out" where the device does not want to take part now; "unreachable" where the server
            does not answer; "refused" where it does not let the device in; "connected".
        why: a code for a device that sits out (`not-opted-in`, `policy`, `interval`, `budget`, `few-rows`), otherwise
            the last error's text. Empty for none.
        last_contact: Unix time of the server's last answer, in seconds; None for none yet.
        rounds: number of training and evaluation rounds answered since the start.
        refusals: number of rounds refused since the start.
        bytes_today: sent and received in this day (UTC).
        last_refusal: the reason that was told to the server when the device last answered with a refusal; empty for
            none. `tegu.wire.FAILURES` says what its code means.
        newer_bundle: the file of a newer bundle that the federation trains, fetched and verified, for
            `Personalizer.upgrade`; None for none.
        seconds: from a message to its reply, of the last round; 0 for none yet.
    """

    status: Status = "stopped"
    why: str = ""
    last_contact: float | None = None
    rounds: int = 0
    refusals: int = 0
    bytes_today: int = 0
    last_refusal: str = ""
    newer_bundle: Path | None = None
    seconds: float = 0.0
