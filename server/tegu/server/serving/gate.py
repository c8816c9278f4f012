"""The SuperLink as a program that lets other machines reach Flower's Fleet API alone.

A SuperLink serves three APIs on one port. Nodes need the Fleet API, where node authentication applies. Whoever reaches
the Control API may register keys and start any app, and the open-source SuperLink asks nobody there who they are; the
Runtime API is for the server's own processes. This program starts the SuperLink with a gate before its application,
which refuses those two, and everything else but the health check, to all peers but this machine. In its store
of objects, contents decide and not announcements; see `tegu.server.serving.object_store`.

A proxy on this machine would let its clients pass as this machine: let it forward `/v1/fleet/` and `/health` only.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any, TypeAlias

from anyio.to_thread import current_default_thread_limiter

__all__ = ["gated", "is_small", "main", "may_pass"]

_ANNOUNCEMENT, _MOST_ANNOUNCEMENT = "/v1/fleet/push-messages", 1 << 20  # bytes of the ids of 10,000 objects and more
_FOR_ALL = ("/v1/fleet/", "/health")
_OWN_HOSTS = ("127.0.0.1", "::1")
_THREADS = 4  # of 40: SQLite has one writer, and the other threads would wait for it in short sleeps

Scope: TypeAlias = MutableMapping[str, Any]
Send: TypeAlias = Callable[[MutableMapping[str, Any]], Awaitable[None]]
Application: TypeAlias = Callable[[Scope, Any, Send], Awaitable[None]]


def may_pass(scope: Scope) -> bool:
    """Whether a request may reach the SuperLink: its path is for all, or its peer is this machine.

    Args:
        scope: of an ASGI connection, with the `path`, and as (host, port) the peer `client` and the own `server`.
    """
    if scope["type"] == "lifespan":
        return True
    path, peer, own = str(scope.get("path")), scope.get("client"), scope.get("server")
    if path == _FOR_ALL[1] or path.startswith(_FOR_ALL[0]):
        return True
    return peer is not None and (peer[0] in _OWN_HOSTS or (own is not None and peer[0] == own[0]))


def is_small(scope: Scope) -> bool:
    """Whether a request announces no more than a reply may have. The SuperLink stores each id before it counts them.

    Args:
        scope: of an ASGI connection, with the `path`, and pairs of bytes as `headers`.
    """
    if scope.get("path") != _ANNOUNCEMENT:
        return True
    lengths = [value for name, value in scope.get("headers", ()) if name == b"content-length"]
    return len(lengths) == 1 and lengths[0].isdigit() and int(lengths[0]) <= _MOST_ANNOUNCEMENT


def gated(application: Application) -> Application:
    """The application behind the gate. What may not pass gets the status 403 or 413. A few threads answer."""

    async def gate(scope: Scope, receive: Any, send: Send) -> None:
        if scope["type"] == "lifespan":
            current_default_thread_limiter().total_tokens = _THREADS
        if not may_pass(scope):
            await _refuse(scope, send, 403, b"this API is for the server's own machine")
        elif not is_small(scope):
            await _refuse(scope, send, 413, b"a reply has too many objects")
        else:
            await application(scope, receive, send)

    return gate


async def _refuse(scope: Scope, send: Send, status: int, why: bytes) -> None:
    if scope["type"] == "http":
        await send({"type": "http.response.start", "status": status, "headers": [(b"content-type", b"text/plain")]})
        await send({"type": "http.response.body", "body": why})
    else:
        await send({"type": "websocket.close", "code": 1008})


def main() -> None:
    """Run `flower-superlink` with the arguments of this process, behind the gate."""
    import uvicorn  # noqa: PLC0415 # only the program needs these
    from flwr.superlink.cli import flower_superlink  # noqa: PLC0415

    from tegu.server.serving.object_store import use_verified_store  # noqa: PLC0415

    use_verified_store()
    run = uvicorn.run

    def run_gated(app: Any, **options: Any) -> None:
        # A line for each request would fill the disk in weeks. Headers of a proxy count from this machine only.
        run(gated(app), **{**options, "access_log": False, "forwarded_allow_ips": "127.0.0.1"})

    uvicorn.run = run_gated  # Flower calls it by this name; a test starts it and asks from outside
    flower_superlink()


if __name__ == "__main__":
    main()
