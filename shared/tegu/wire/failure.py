"""What a device tells a server about a failure: a class and a code, and nothing of the error's text.

An error's text names values, paths and users. It stays in the device's own log.
"""

from __future__ import annotations

from tegu.core.errors import (
    BundleError,
    DataError,
    FederationError,
    PopulationError,
    RuntimeFailure,
    SignatureError,
    StoreError,
    TeguError,
    UnknownNameError,
)

__all__ = ["FAILURES", "describe_failure", "failure_reason"]

FAILURES = {
    "few-people": "the round asks for fewer people than the device demands; raise users-per-node, or the share",
    "few-rows": "the round asks for fewer rows than the device demands; raise max-support and max-query",
    "large-clip": "the round's clip is larger than the device allows; set a smaller clip",
    "little-noise": "the round has less noise than the device demands",
    "large-share": "the round sets too large a share of users apart",
    "many-candidates": "the round asks for more candidates than the device answers",
    "other-candidates": "the round asks for candidates that the device's bundle does not have",
    "no-training": "the device answers no training rounds",
    "no-evaluation": "the device answers no evaluation rounds",
    "opted-out": "the user of the device has not agreed to take part, or no longer agrees",
    "not-now": "the device takes no part now: its battery, its network or its budget does not allow it",
    "other-version": "the device's graphs are not those of the round, and it has not fetched them from a bundle-source",
    "no-rows": "no user of the device has enough rows",
    "data": "the device cannot read its rows, or they do not fit the model",
    "bundle": "the device cannot read its bundle",
    "graph": "the device cannot run its graphs",
    "request": "the device cannot use the request; is its bundle that of the run?",
    "name": "the device does not know a name in the request; is its version older?",
    "memory": "the device has too little memory",
    "other": "the device failed for another reason",
}
_CODES: tuple[tuple[type[Exception], str], ...] = (  # subclasses first
    (PopulationError, "no-rows"),
    (SignatureError, "bundle"),
    (BundleError, "bundle"),
    (RuntimeFailure, "graph"),
    (UnknownNameError, "name"),
    (StoreError, "data"),
    (DataError, "data"),
    (FederationError, "request"),
    (MemoryError, "memory"),
    (TeguError, "other"),
    (Exception, "other"),
)
_LONGEST = 200  # characters of a text that no Tegu client has written


def failure_reason(error: Exception) -> str:
    """The class of an error and its code, such as "DataError: data".

    Args:
        error: any. An attribute `code` that `FAILURES` has is its code.
    """
    kind, code = next((kind, code) for kind, code in _CODES if isinstance(error, kind))
    own = getattr(error, "code", None)
    return f"{kind.__name__}: {own if isinstance(own, str) and own in FAILURES else code}"


def describe_failure(reason: str | None) -> str:
    """A reason that a server has received, for its log: with what it means, and without control characters."""
    kind, _, code = str(reason).partition(": ")
    if code in FAILURES and kind in {known.__name__ for known, _ in _CODES}:
        return f"{reason}: {FAILURES[code]}. The device's own log has the details"
    text = ascii(str(reason))[1:-1]
    return text if len(text) <= _LONGEST else f"{text[:_LONGEST]}..."
