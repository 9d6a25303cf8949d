"""The network behind one object with one method."""

import contextlib
import time
from collections.abc import Mapping
from typing import TYPE_CHECKING, Protocol

import msgspec

from genux.errors import TransportError

if TYPE_CHECKING:
    from http.client import HTTPConnection

__all__ = ["HttpTransport", "Response", "Transport"]

_MAX_RESPONSE_BYTES = 16 * 1_024 * 1_024
# A host that was frozen, or slept, finds its connection dead without being told, and would wait for an answer in vain.
# By the wall clock: the other one stands still meanwhile.
_MAX_IDLE_SECONDS = 60.0


class Response(msgspec.Struct, frozen=True):
    """What the service answered; header names are in lower case."""

    status: int
    headers: Mapping[str, str]
    body: bytes


class Transport(Protocol):
    """A way to the service."""

    def send(self, method: str, path: str, body: bytes, headers: Mapping[str, str]) -> Response:
        """Send one request and wait for its answer, whatever its status.

        Args:
            method: such as `POST`.
            path: below the service's address, such as `/v1/events`.
            body: empty for none.
            headers: names and values.

        Raises:
            TransportError: there was no answer.
        """
        ...


class HttpTransport:
    """HTTP/1.1 over the standard library, one connection kept alive. Used by one thread at a time.

    Args:
        url: address of the service, `http://` or `https://`; a path in it is kept.
        timeout_seconds: for connecting, and for each wait on the socket.
    """

    def __init__(self, url: str, timeout_seconds: float) -> None:
        self._url = url
        self._timeout_seconds = timeout_seconds
        self._connection: HTTPConnection | None = None
        self._used_at = 0.0
        self._prefix = ""

    def send(self, method: str, path: str, body: bytes, headers: Mapping[str, str]) -> Response:
        """Send one request; a kept connection that the service had closed is opened anew, once."""
        from http.client import HTTPException, RemoteDisconnected

        if abs(time.time() - self._used_at) > _MAX_IDLE_SECONDS:
            self.close()
        reused = self._connection is not None
        try:
            try:
                return self._exchange(method, path, body, headers)
            except (RemoteDisconnected, BrokenPipeError, ConnectionResetError):
                if not reused:
                    raise
                return self._exchange(method, path, body, headers)
        except (OSError, HTTPException, ValueError) as error:
            raise TransportError(f"{self._url}{path}: {type(error).__name__}: {error}") from error

    def close(self) -> None:
        """Drop the connection; the next `send` opens another. In a forked child this says nothing to the service."""
        connection, self._connection = self._connection, None
        if connection is not None:
            with contextlib.suppress(OSError):
                connection.close()

    def _exchange(self, method: str, path: str, body: bytes, headers: Mapping[str, str]) -> Response:
        connection = self._connection or self._connect()
        self._connection = connection
        self._used_at = time.time()
        whole = False
        try:
            connection.request(method, self._prefix + path, body=body or None, headers=dict(headers))
            reply = connection.getresponse()
            content = reply.read(_MAX_RESPONSE_BYTES + 1)
            whole = len(content) <= _MAX_RESPONSE_BYTES and not reply.will_close
        finally:
            if not whole:  # whatever went wrong: a connection in the middle of an exchange is of no more use
                self.close()
        if len(content) > _MAX_RESPONSE_BYTES:
            raise ValueError("the answer is larger than 16 MiB")
        return Response(reply.status, {name.lower(): value for name, value in reply.getheaders()}, content)

    def _connect(self) -> "HTTPConnection":
        from http.client import HTTPConnection, HTTPSConnection
        from urllib.parse import urlsplit

        parts = urlsplit(self._url)
        if parts.scheme not in {"http", "https"} or not parts.hostname:
            raise ValueError("not an http:// or https:// address")
        self._prefix = parts.path.rstrip("/")
        kind = HTTPSConnection if parts.scheme == "https" else HTTPConnection
        return kind(parts.hostname, parts.port, timeout=self._timeout_seconds)
