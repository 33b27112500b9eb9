"""One HTTP request: its parameters, its credentials, and its body as a stream."""

from __future__ import annotations

import base64
import binascii
import os
import re
import select
import socket
from collections.abc import Callable, Iterator
from email.message import Message
from io import BufferedReader
from typing import Any
from urllib.parse import parse_qsl, urlsplit

from embedded import interface
from embedded.errors import ClientGoneError, QueryError
from embedded.http.blocks import unpacked
from embedded.http.compression import decompressed
from embedded.http.head import Limits

CHUNK = 1 << 20
_USUAL = Limits()
# Python's int() accepts signs, underscores and other scripts' digits; a proxy in front of the server does not.
_DECIMAL = re.compile(r"[0-9]{0,18}")
_CHUNK_SIZE = re.compile(rb"([0-9A-Fa-f]{1,15})[ \t]*(?:;|\r?\n)")


class Unread:
    """Bytes of a body that are still in the socket. The receiver must move all of them on (zero-copy)."""

    def __init__(self, connection: socket.socket, size: int) -> None:
        self._connection = connection
        self._size = size
        self._stalled = 0.0
        self._poll = select.poll()
        self._poll.register(connection, select.POLLIN)

    def __bool__(self) -> bool:
        return self._size > 0

    def move_to(self, pipe: int, seconds: float) -> Unread:
        """Moves arrived bytes into a non-blocking pipe, or waits up to `seconds` for them; returns the rest.

        Raises ClientGoneError if the connection has ended, TimeoutError if the client is silent for too long.
        """
        if not self._poll.poll(seconds * 1000):
            self._stalled += seconds
            if self._stalled >= (self._connection.gettimeout() or float("inf")):
                raise TimeoutError
            return self
        self._stalled = 0.0
        try:
            moved = os.splice(self._connection.fileno(), pipe, self._size, flags=os.SPLICE_F_NONBLOCK)
        except BlockingIOError:
            return self
        if not moved:
            raise ClientGoneError
        self._size -= moved
        return self


class Request:
    """A request. Its body can be read once; `unread`: some of it is still in the connection."""

    def __init__(
        self,
        method: str,
        target: str,
        headers: Message,
        source: BufferedReader,
        proceed: Callable[[], None],
        connection: socket.socket | None = None,
        limits: Limits = _USUAL,
    ) -> None:
        """Parses address and headers. `source` reads from `connection`, which only `leave_in_connection` needs."""
        self.method = method
        self.headers = headers
        address = urlsplit("http:" + target if target.startswith("//") else target)
        self.path = address.path
        self.limits = limits
        limits.check_fields(address.query)
        # Bytes that are not UTF-8 survive as surrogates: ClickHouse's strings are bytes.
        self.parameters = dict(
            parse_qsl(address.query, keep_blank_values=True, encoding="utf-8", errors="surrogateescape")
        )
        self._source = source
        self._connection = connection
        self._leaves = False
        self._proceed = proceed
        # Headers that two readers could read as different lengths would let one request hide another (request smuggling).
        coding = ",".join(headers.get_all("Transfer-Encoding", [])).strip().lower()
        length = ",".join(headers.get_all("Content-Length", [])).strip()
        if coding not in ("", "chunked") or (coding and length) or not _DECIMAL.fullmatch(length):
            raise QueryError(36, "The request must have one Content-Length or Transfer-Encoding: chunked, not both")
        self._chunked = coding == "chunked"
        self._left = int(length or 0)
        self._begun = False
        self.unread = self._chunked or self._left > 0
        if self.unread and method in ("GET", "HEAD"):
            raise QueryError(36, f"A {method} request has no body: send the statement with POST")
        encoding = (headers.get("Content-Encoding") or "").strip().lower()
        self._plain = encoding in ("", "identity") and not self.flag("decompress")
        self._body = decompressed(encoding, self._raw())
        if self.flag("decompress"):
            self._body = unpacked(self._body)

    def flag(self, name: str) -> bool:
        """Whether a parameter of the interface is on."""
        return interface.is_on(self.parameters.get(name))

    @property
    def database(self) -> str:
        """Database of the request; "" without one."""
        return self.headers.get("X-ClickHouse-Database") or self.parameters.get("database") or ""

    def credentials(self) -> tuple[str, str]:
        """Returns user name and password. Raises QueryError 516 for several ways at once or a broken header."""
        for name in interface.REFUSED_HEADERS:
            interface.check_header(name, self.headers.get(name))
        ways = []
        if self.headers.get("X-ClickHouse-User") is not None or self.headers.get("X-ClickHouse-Key") is not None:
            ways.append(
                (self.headers.get("X-ClickHouse-User") or "default", self.headers.get("X-ClickHouse-Key") or "")
            )
        authorization = self.headers.get("Authorization")
        if authorization not in (None, "never"):  # the engine's page says never, so that no browser asks by itself
            ways.append(_basic(authorization))
        if "user" in self.parameters or "password" in self.parameters:
            ways.append((self.parameters.get("user", "default"), self.parameters.get("password", "")))
        if len(ways) > 1:
            raise QueryError(
                516, "Invalid authentication: it is not allowed to use several ways of giving a password at once"
            )
        return ways[0] if ways else ("default", "")

    def body(self) -> Iterator[bytes]:
        """Returns the rest of the decoded body, in chunks. Raises ClientGoneError if the connection ends before the body."""
        return self._body

    def leave_in_connection(self) -> None:
        """Allows the body to yield Unread pieces from now on, if it is not encoded."""
        self._leaves = self._plain and self._connection is not None

    def drain(self, longest: int = CHUNK) -> None:
        """Reads the rest of a short body, so that the connection can continue; leaves a long one."""
        if self.unread and not self._chunked and self._left <= longest and not self._begun:
            self._begun = True
            self._leaves = False
            self._proceed()
            for _ in self._read_exactly(self._left):
                pass
            self.unread = False

    def _raw(self) -> Iterator[Any]:
        if not self.unread or self._begun:
            return
        self._begun = True
        self._proceed()
        if self._chunked:
            yield from self._read_chunked()
        else:
            yield from self._read_exactly(self._left)
        self.unread = False

    def _read_chunked(self) -> Iterator[Any]:
        while True:
            line = self._source.readline(1026)
            if not line.endswith(b"\n"):
                raise ClientGoneError
            found = _CHUNK_SIZE.match(line)
            if found is None:
                raise QueryError(36, "The chunked body is broken: a chunk does not begin with its size")
            size = int(found.group(1), 16)
            if size == 0:
                break
            yield from self._read_exactly(size)
            if self._source.readline(3).strip():
                raise QueryError(36, "The chunked body is broken: a chunk is longer than its size")
        while self._source.readline(65537).strip():
            pass  # trailers say nothing here

    def _read_exactly(self, left: int) -> Iterator[Any]:
        while left:
            # The reader's buffer comes first. `read1` empties it; `read` may refill it.
            leaves = self._leaves
            size = min(left, CHUNK)
            data = self._source.read1(size) if leaves else self._source.read(size)
            if not data:
                raise ClientGoneError
            left -= len(data)
            yield data
            if left and leaves and self._connection is not None:
                yield Unread(self._connection, left)
                return


def _basic(header: str) -> tuple[str, str]:
    scheme, _, value = header.partition(" ")
    if scheme.lower() != "basic":
        raise QueryError(
            516, f"Invalid authentication: {scheme} is not supported, use Basic or X-ClickHouse-User and -Key"
        )
    try:
        name, _, password = base64.b64decode(value, validate=True).decode().partition(":")
    except (binascii.Error, UnicodeDecodeError):
        raise QueryError(516, "Invalid authentication: the Basic header is not base64 of user:password") from None
    return name, password
