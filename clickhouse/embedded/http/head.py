"""Reads the head of a request, within ClickHouse's limits of size and time."""

from __future__ import annotations

import re
import socket
import time
from collections.abc import Callable
from dataclasses import dataclass
from email.message import Message
from io import BufferedReader

from embedded.errors import QueryError
from embedded.interface import LIMITS

_LONGEST_METHOD = 32


class HeadError(Exception):
    """A head to which ClickHouse responds with 400 and no text; the message is for the log."""


@dataclass(frozen=True)
class Limits:
    """Bytes, numbers and seconds; the names are those of ClickHouse's settings without their `http_`."""

    max_uri_size: int = LIMITS["http_max_uri_size"]
    max_fields: int = LIMITS["http_max_fields"]
    max_field_name_size: int = LIMITS["http_max_field_name_size"]
    max_field_value_size: int = LIMITS["http_max_field_value_size"]
    max_request_header_size: int = LIMITS["http_max_request_header_size"]
    max_multipart_form_data_size: int = LIMITS["http_max_multipart_form_data_size"]
    headers_read_timeout: int = LIMITS["http_headers_read_timeout"]

    @classmethod
    def of_profile(cls, value: Callable[[str], str | None]) -> Limits:
        """Returns the limits of the profile of user `default`; the engine's defaults for others."""
        return cls(**{name.removeprefix("http_"): int(value(name) or usual) for name, usual in LIMITS.items()})

    def holds(self, setting: str, value: str) -> bool:
        """Whether a request that asks for this limit asks for the one that is in force."""
        return setting in LIMITS and value == str(getattr(self, setting.removeprefix("http_")))

    def check_fields(self, query: str) -> None:
        """Raises QueryError for too many or too long fields of a URL, still encoded."""
        fields = query.split("&") if query else []
        if len(fields) > self.max_fields:
            raise form_error("Too many form fields")
        for field in fields:
            name, _, value = field.partition("=")
            if len(name) > self.max_field_name_size:
                raise form_error("Field name too long")
            if len(value) > self.max_field_value_size:
                raise form_error("Field value too long")


def form_error(message: str) -> QueryError:
    """Returns ClickHouse's error for a URL or a form beyond the limits."""
    return QueryError(1000, f"HTML Form Exception: {message}")


@dataclass(frozen=True)
class Head:
    method: str
    target: str
    keep: bool
    headers: Message


class HeadReader:
    """Reads the heads of one connection's requests."""

    def __init__(self, source: BufferedReader, connection: socket.socket, limits: Limits) -> None:
        self._source = source
        self._connection = connection
        self._limits = limits
        self._end = 0.0

    def read(self, idle: float) -> Head | None:
        """Returns the next head; None if the client has closed. `idle` is the longest silence before it, in seconds.

        Raises HeadError, and TimeoutError for a silent client.
        """
        self._connection.settimeout(idle)
        if not self._source.peek(1):
            return None
        self._end = time.monotonic() + self._limits.headers_read_timeout
        most = self._limits.max_uri_size + _LONGEST_METHOD + len("  HTTP/1.1\r\n") + 1
        line = self._line(most)
        while line in (b"\r\n", b"\n"):
            line = self._line(most)
        if not line:
            return None
        words = line.decode("latin-1").split()
        if (len(words) > 1 and len(words[1]) > self._limits.max_uri_size) or not line.endswith(b"\n"):
            raise HeadError("HTTP request URI invalid or too long")
        if len(words) != 3 or len(words[0]) > _LONGEST_METHOD or not re.fullmatch(r"HTTP/1\.[0-9]", words[2]):
            raise HeadError("No HTTP request header")
        headers = self._headers()
        connection = (headers.get("Connection") or "").lower()
        keep = connection != "close" if words[2] != "HTTP/1.0" else connection == "keep-alive"
        target = "/" + words[1].lstrip("/") if words[1].startswith("//") else words[1]
        return Head(words[0], target, keep, headers)

    def _headers(self) -> Message:
        headers, size, fields = Message(), 0, 0
        longest = self._limits.max_field_name_size + self._limits.max_field_value_size + len(": \r\n") + 1
        while (line := self._line(longest)) not in (b"\r\n", b"\n"):
            name, colon, value = line.rstrip(b"\r\n").partition(b":")
            if len(name) > self._limits.max_field_name_size:
                raise HeadError("Field name is too long")
            if len(value.strip()) > self._limits.max_field_value_size or not line.endswith(b"\n"):
                raise HeadError("Field value is too long, or the head ends in it")
            if not colon or not re.fullmatch(rb"[!-9;-~]+", name):
                raise HeadError("Field name is invalid or no colon found")
            if b"\r" in value or b"\0" in value:
                raise HeadError("Field is invalid")
            size, fields = size + len(name) + len(value.strip()), fields + 1
            if fields > self._limits.max_fields:
                raise HeadError("Too many header fields")
            if size > self._limits.max_request_header_size:
                raise HeadError("The headers are too large together")
            headers[name.decode("latin-1")] = value.strip().decode("latin-1")
        return headers

    def _line(self, most: int) -> bytes:
        """Returns a line with its end, or its first `most` bytes, or the rest at the connection's end. Raises HeadError when time is up."""
        line = b""
        while len(line) < most and not line.endswith(b"\n"):
            left = self._end - time.monotonic()
            if left <= 0:
                raise HeadError("Timeout exceeded while reading HTTP headers")
            self._connection.settimeout(left)
            try:
                ready = self._source.peek(1)[: most - len(line)]
            except TimeoutError:
                raise HeadError("Timeout exceeded while reading HTTP headers") from None
            if not ready:
                break
            line += self._source.read(ready.find(b"\n") + 1 or len(ready))
        return line
