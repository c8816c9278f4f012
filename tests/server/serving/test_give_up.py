"""When a server starts a failed run again, and when it does not."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from flwr.supercore.inflatable.inflatable_utils import ObjectPullError, ObjectPushError, UnexpectedObjectContentError
from httpx import ConnectError, HTTPStatusError, ReadError, ReadTimeout, RemoteProtocolError

from tegu.core.errors import FederationError
from tegu.server.serving.serve import _MOST_FAILURES, _Ended, _give_up_if_hopeless


def ended(kind: str) -> _Ended:
    return _Ended([{"event": "failed", "kind": kind, "error": "why"}])  # type: ignore[list-item]


SERVER: Any = SimpleNamespace(state=Path("state"))


@pytest.mark.parametrize(
    "kind",
    [FederationError, ObjectPullError, ObjectPushError, ConnectError, HTTPStatusError, ReadError, ReadTimeout,
     RemoteProtocolError, UnexpectedObjectContentError, ZeroDivisionError],
)  # fmt: skip
def test_what_passes_is_tried_again(kind: type[Exception]) -> None:
    """A SuperLink that is killed between two requests of the ServerApp makes it fail in one of these ways or another.

    A programming error is tried again as well. It ends the run a little later.
    """
    _give_up_if_hopeless(SERVER, ended(kind.__name__), 1)
    with pytest.raises(FederationError, match="a new round was not reached: why"):
        _give_up_if_hopeless(SERVER, ended(kind.__name__), _MOST_FAILURES)


@pytest.mark.parametrize("kind", ["DataError", "PopulationError", "BundleError", "FileError"])
def test_what_stays_ends_the_run(kind: str) -> None:
    with pytest.raises(FederationError, match="the run has failed"):
        _give_up_if_hopeless(SERVER, ended(kind), 1)


def test_a_killed_run_is_tried_again() -> None:
    _give_up_if_hopeless(SERVER, _Ended([]), 1)
