"""The SuperLink as a program that lets other machines reach Flower's Fleet API alone.

A SuperLink serves three APIs on one port. Nodes need the Fleet API, where node authentication applies. Whoever reaches
the Control API may register keys and start any app, and the open-source SuperLink asks nobody there who they are; the
Runtime API is for the server's own processes. This program starts the SuperLink with a gate before its application,
which refuses those two, and everything else but the health check, to all peers but this machine.

A proxy on this machine would let its clients pass as this machine: let it forward `/v1/fleet/` and `/health` only.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any, TypeAlias

from anyio.to_thread import current_default_thread_limiter

__all__ = ["gated", "main", "may_pass"]

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


def gated(application: Application) -> Application:
    """The application behind the gate. What may not pass gets the status 403. A few threads answer."""

    async def gate(scope: Scope, receive: Any, send: Send) -> None:
        if scope["type"] == "lifespan":
            current_default_thread_limiter().total_tokens = _THREADS
        if may_pass(scope):
            await application(scope, receive, send)
        elif scope["type"] == "http":
            await send({"type": "http.response.start", "status": 403, "headers": [(b"content-type", b"text/plain")]})
            await send({"type": "http.response.body", "body": b"this API is for the server's own machine"})
        else:
            await send({"type": "websocket.close", "code": 1008})

    return gate


def main() -> None:
    """Run `flower-superlink` with the arguments of this process, behind the gate."""
    import uvicorn  # noqa: PLC0415 # only the program needs these
    from flwr.superlink.cli import flower_superlink  # noqa: PLC0415

    run = uvicorn.run

    def run_gated(app: Any, **options: Any) -> None:
        # A line for each request would fill the disk in weeks. Headers of a proxy count from this machine only.
        run(gated(app), **{**options, "access_log": False, "forwarded_allow_ips": "127.0.0.1"})

    uvicorn.run = run_gated  # Flower calls it by this name; a test starts it and asks from outside
    flower_superlink()


if __name__ == "__main__":
    main()
