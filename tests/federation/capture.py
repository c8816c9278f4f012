"""A proxy that records what clients send, and the requests in it."""

from __future__ import annotations

import gzip
import socket
import threading
import zlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from typing import NamedTuple


@dataclass
class Recorder:
    """What was sent over each connection, in order, and the port that it was sent to."""

    port: int
    sent: list[bytearray] = field(default_factory=list)


@contextmanager
def recording(server_port: int) -> Iterator[Recorder]:
    """A TCP proxy on 127.0.0.1 to a port of it. Everything that goes to the server is kept."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        recorder = Recorder(listener.getsockname()[1])
        thread = threading.Thread(target=_accept, args=(listener, server_port, recorder), daemon=True)
        thread.start()
        try:
            yield recorder
        finally:
            listener.shutdown(socket.SHUT_RDWR)
            thread.join()


def _accept(listener: socket.socket, server_port: int, recorder: Recorder) -> None:
    with suppress(OSError):  # the listener is closed
        while True:
            client, _ = listener.accept()
            server = socket.create_connection(("127.0.0.1", server_port))
            kept = bytearray()
            recorder.sent.append(kept)
            for source, target, copy in ((client, server, kept), (server, client, None)):
                threading.Thread(target=_pump, args=(source, target, copy), daemon=True).start()


def _pump(source: socket.socket, target: socket.socket, copy: bytearray | None) -> None:
    with suppress(OSError):
        while data := source.recv(1 << 16):
            if copy is not None:
                copy += data
            target.sendall(data)
    for each in (source, target):
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
