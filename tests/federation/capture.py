"""A proxy that records what clients send, and the requests in it."""

from __future__ import annotations

import gzip
import socket
import zlib
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from typing import NamedTuple

_MOST_THREADS = 200  # two for each connection


@dataclass
class Recorder:
    """What was sent over each connection, in order, and the port that it was sent to."""

    port: int
    sent: list[bytearray] = field(default_factory=list)


@contextmanager
def recording(server_port: int) -> Iterator[Recorder]:
    """A TCP proxy on 127.0.0.1 to a port of it. Everything that goes to the server is kept.

    The clients must have ended when the context ends.
    """
    with socket.create_server(("127.0.0.1", 0)) as listener, ThreadPoolExecutor(_MOST_THREADS) as pool:
        recorder = Recorder(listener.getsockname()[1])
        accepting = pool.submit(_accept, listener, server_port, recorder, pool)
        try:
            yield recorder
        finally:
            listener.shutdown(socket.SHUT_RDWR)
            accepting.result()


def _accept(listener: socket.socket, server_port: int, recorder: Recorder, pool: ThreadPoolExecutor) -> None:
    while True:
        try:
            client, _ = listener.accept()
        except OSError:  # it is shut down
            return
        kept = bytearray()
        recorder.sent.append(kept)
        pool.submit(_carry, client, server_port, kept, pool)


def _carry(client: socket.socket, server_port: int, kept: bytearray, pool: ThreadPoolExecutor) -> None:
    with client, socket.create_connection(("127.0.0.1", server_port)) as server:
        back = pool.submit(_pump, server, client, None)
        _pump(client, server, kept)
        back.result()


def _pump(source: socket.socket, target: socket.socket, copy: bytearray | None) -> None:
    with suppress(OSError):
        while data := source.recv(1 << 16):
            if copy is not None:
                copy += data
            target.sendall(data)
    for each in (source, target):  # ends the other direction too
        with suppress(OSError):
            each.shutdown(socket.SHUT_RDWR)


class Request(NamedTuple):
    """A HTTP request. Header names are in lower case, and the body is without chunks and compression."""

    path: str
    headers: Mapping[str, str]
    body: bytes


def requests_in(sent: bytes) -> list[Request]:
    """The requests that were sent over a connection.

    Raises:
        ValueError: the bytes are no sequence of HTTP/1.1 requests; the last one may be cut off.
    """
    found, rest = [], sent
    while rest:
        head, divider, rest = rest.partition(b"\r\n\r\n")
        if not divider:
            break
        first, *lines = head.decode("latin-1").split("\r\n")
        method, path, version = first.split(" ")
        if method not in ("POST", "GET") or version != "HTTP/1.1":
            raise ValueError(f"no request: {first!r}")
        headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
        if headers.get("transfer-encoding") == "chunked":
            body, rest = _without_chunks(rest)
        else:
            length = int(headers.get("content-length", 0))
            body, rest = rest[:length], rest[length:]
        found.append(Request(path, headers, _decompressed(body, headers.get("content-encoding", "identity"))))
    return found


def _without_chunks(rest: bytes) -> tuple[bytes, bytes]:
    body = b""
    while True:
        line, _, rest = rest.partition(b"\r\n")
        size = int(line.split(b";")[0], 16)
        body, rest = body + rest[:size], rest[size + 2 :]
        if not size:
            return body, rest


def _decompressed(body: bytes, encoding: str) -> bytes:
    return {"identity": bytes, "gzip": gzip.decompress, "deflate": zlib.decompress}[encoding](body)
