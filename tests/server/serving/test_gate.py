"""From other machines only the Fleet API and the health check pass."""

from __future__ import annotations

import asyncio
from collections.abc import MutableMapping
from typing import Any

import pytest
from anyio.to_thread import current_default_thread_limiter

from tegu.server.serving.gate import gated, is_small, may_pass

OWN = ("10.0.0.3", 8000)


def scope(path: str, peer: str | None, kind: str = "http") -> dict[str, Any]:
    return {"type": kind, "path": path, "client": None if peer is None else (peer, 5000), "server": OWN}


@pytest.mark.parametrize("path", ["/v1/fleet/pull-messages", "/health"])
@pytest.mark.parametrize("peer", ["10.0.0.9", "127.0.0.1", None])
def test_nodes_may_pass(path: str, peer: str | None) -> None:
    assert may_pass(scope(path, peer))


@pytest.mark.parametrize(
    "path",
    ["/v1/control/register-node", "/v1/control/start-run", "/v1/runtime/acquire-task", "/docs", "/openapi.json", "/",
     "/v1/fleet", "/healthy", "/v1/fleet2/x", "//v1/control/start-run"],
)  # fmt: skip
def test_everything_else_is_for_this_machine(path: str) -> None:
    assert not may_pass(scope(path, "10.0.0.9"))
    assert not may_pass(scope(path, None))
    assert not may_pass(scope(path, "127.0.0.2")), "the exact address, so that a test can come from outside"
    for own in ("127.0.0.1", "::1", OWN[0]):
        assert may_pass(scope(path, own))


def ask(kind: str, peer: str) -> tuple[list[str], list[MutableMapping[str, Any]]]:
    """What the application behind the gate saw, and what the gate sent."""
    seen: list[str] = []
    sent: list[MutableMapping[str, Any]] = []

    async def application(one: MutableMapping[str, Any], receive: Any, send: Any) -> None:
        seen.append(one["type"])

    async def send(message: MutableMapping[str, Any]) -> None:
        sent.append(message)

    asyncio.run(gated(application)(scope("/v1/control/start-run", peer, kind), None, send))  # type: ignore[arg-type]
    return seen, sent


def test_what_may_not_pass_is_answered_with_403() -> None:
    seen, sent = ask("http", "10.0.0.9")
    assert not seen
    assert [message.get("status") for message in sent] == [403, None]
    seen, sent = ask("websocket", "10.0.0.9")
    assert not seen
    assert sent == [{"type": "websocket.close", "code": 1008}]


@pytest.mark.parametrize(
    ("lengths", "small"),
    [([b"1048576"], True), ([b"1048577"], False), ([], False), ([b"12", b"1048577"], False), ([b"-1"], False)],
)
def test_an_announcement_has_at_most_a_mebibyte(lengths: list[bytes], small: bool) -> None:
    headers = [(b"accept", b"text/plain"), *((b"content-length", length) for length in lengths)]
    assert is_small({"path": "/v1/fleet/push-messages", "headers": headers}) == small
    assert is_small({"path": "/v1/fleet/push-object", "headers": headers}), "objects may be larger"


def test_an_announcement_that_is_too_large_does_not_reach_the_application() -> None:
    sent: list[Any] = []

    async def send(message: Any) -> None:
        sent.append(message)

    asking = {**scope("/v1/fleet/push-messages", "10.0.0.9"), "headers": [(b"content-length", b"9999999")]}
    asyncio.run(gated(None)(asking, None, send))  # type: ignore[arg-type]
    assert sent[0]["status"] == 413


def test_what_may_pass_reaches_the_application() -> None:
    assert ask("http", "127.0.0.1") == (["http"], [])
    assert ask("lifespan", "10.0.0.9") == (["lifespan"], [])


def test_few_threads_wait_for_the_one_writer_of_the_database() -> None:
    async def application(one: Any, receive: Any, send: Any) -> None:
        """Does nothing."""

    async def threads() -> float:
        await gated(application)({"type": "lifespan"}, None, None)  # type: ignore[arg-type]
        return current_default_thread_limiter().total_tokens

    assert asyncio.run(threads()) == 4
