"""One HTTP connection that is kept open: requests of bounded size, all bytes counted. The standard library alone.

Apps live behind all kinds of networks. Whatever fails on the way is `Unreachable`, and what the server answers instead
of what was asked is `Refused`.
"""

from __future__ import annotations

import http.client
import json
import ssl
from collections.abc import Iterable, Mapping
from contextlib import suppress

from tegu.core.errors import FederationError

__all__ = ["Connection", "OverBudgetError", "RefusedError", "UnreachableError"]

_OK = 200
_CHUNK = 1 << 16
_MOST_REASON = 1 << 12


class UnreachableError(FederationError):
    """The server does not answer, or not by the protocol."""


class OverBudgetError(FederationError):
    """An answer is larger than the bytes that are left."""


class RefusedError(FederationError):
    """The server refuses a request. `status` is HTTP's, and `code` the server's own; 0 if it says none."""

    def __init__(self, status: int, code: int, path: str) -> None:
        super().__init__(
            f"the server refuses {path} with status {status} and code {code}: is this device registered there?"
        )
        self.status, self.code = status, code


class Connection:
    """A connection to one server, opened on first use and again after a failure. Used by one thread.

    Attributes:
        transferred: number of bytes sent and received so far, headers included; TLS and TCP add some percent.

    Args:
        host: of the server.
        port: of the server.
        context: for TLS; None for none.
        timeout: seconds until a silent server counts as not there.
    """

    def __init__(self, host: str, port: int, context: ssl.SSLContext | None, timeout: float) -> None:
        self.transferred = 0
        self._connection = (
            http.client.HTTPSConnection(host, port, timeout=timeout, context=context)
            if context is not None
            else http.client.HTTPConnection(host, port, timeout=timeout)
        )

    def ask(self, path: str, body: bytes | None, headers: Mapping[str, str], most: int) -> bytes:
        """Send a request and return the body of its answer.

        Args:
            path: of the request.
            body: to post; None to get.
            headers: besides those of HTTP.
            most: bytes that request and answer may have together.

        Raises:
            UnreachableError: the server is not there, or its certificate is not trusted.
            RefusedError: the server answers with another status than 200.
            OverBudgetError: the answer is larger; the rest of it was not read.
        """
        sent = len(body or b"") + len(path) + _size(headers.items())
        if sent > most:
            raise OverBudgetError(f"a request of {sent} bytes is more than the {most} that are left: wait until then")
        self.transferred += sent
        try:
            response = self._response(path, body, headers)
            received = _size(response.getheaders())
            if response.status != _OK:
                reason = response.read(_MOST_REASON)
                self.transferred += received + len(reason)
                self.close()
                raise RefusedError(response.status, _code(reason), path)
            content, size = _read(response, most - sent - received)
            self.transferred += received + size
        except (OSError, http.client.HTTPException) as error:  # an SSLError is an OSError
            self.close()
            raise UnreachableError(f"the server does not answer ({type(error).__name__}: {error})") from error
        if content is None:
            self.close()
            raise OverBudgetError(f"an answer is more than the {most} bytes that are left: it was not read")
        return content

    def close(self) -> None:
        """Close the connection. The next request opens it again."""
        with suppress(OSError):
            self._connection.close()

    def _response(self, path: str, body: bytes | None, headers: Mapping[str, str]) -> http.client.HTTPResponse:
        reused, how = self._connection.sock is not None, "GET" if body is None else "POST"
        try:
            self._connection.request(how, path, body, dict(headers))
            return self._connection.getresponse()
        except (ConnectionError, http.client.BadStatusLine, ssl.SSLEOFError):
            self.close()
            if not reused:
                raise
        # The server has closed a kept connection, as it may: once more, with a new one.
        self._connection.request(how, path, body, dict(headers))
        return self._connection.getresponse()


def _read(response: http.client.HTTPResponse, most: int) -> tuple[bytes | None, int]:
    """The body and the number of bytes that were read. The body is None if it has more bytes than `most`."""
    parts, size = [], 0
    while chunk := response.read(_CHUNK):
        size += len(chunk)
        if size > most:
            return None, size
        parts.append(chunk)
    return b"".join(parts), size


def _size(headers: Iterable[tuple[str, str]]) -> int:
    return sum(len(name) + len(value) + 4 for name, value in headers)


def _code(body: bytes) -> int:
    """The server's own code in the body of a refusal; 0 if there is none."""
    try:
        return int(json.loads(body)["code"])
    except (ValueError, TypeError, KeyError):
        return 0
