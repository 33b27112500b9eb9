"""The response: one piece with its length, or chunks. An error before the first byte is a status, after it a part of the body."""

from __future__ import annotations

import json
import secrets
import socket
import time
from collections.abc import Callable
from email.utils import formatdate
from functools import cached_property
from http import HTTPStatus

from embedded import NAME, __version__
from embedded.errors import ClientGoneError, QueryError
from embedded.figures import Figures
from embedded.http import compression
from embedded.http.blocks import Blocks


class Response:
    """Writes one response. `begun`: the status line has been sent; `keep`: the connection can serve another request afterwards."""

    def __init__(self, connection: socket.socket, version: str, *, keep: bool, head_only: bool) -> None:
        self._connection = connection
        self._version = version
        self._started = time.monotonic_ns()
        self._head_only = head_only
        self._coder: compression.Compressor | None = None
        self._status_sent = False
        self.keep = keep
        self.begun = False
        self.headers = {"Server": f"{NAME}/{__version__}", "X-ClickHouse-Server-Display-Name": "clickhouse-server"}
        self.content_type = "text/plain; charset=UTF-8"
        self.coding: str | None = None
        self.level: int | None = None
        self.in_blocks = False
        # Headers of a success that the client requested; they replace the server's own.
        self.wanted: dict[str, str] = {}
        # Called once before the last bytes are sent: a client that has them may reuse the session at once.
        self.at_end: Callable[[], None] | None = None

    @cached_property
    def _exception_tag(self) -> str:
        return "".join(secrets.choice("abcdefghijklmnopqrstuvwxyz") for _ in range(16))

    def _ending(self) -> None:
        at_end, self.at_end = self.at_end, None
        if at_end is not None:
            at_end()

    def _send(self, data: bytes) -> None:
        try:
            self._connection.sendall(data)
        except OSError as error:
            raise ClientGoneError from error

    def _head(self, status: int, extra: dict[str, str]) -> bytes:
        lines = (
            []
            if self._status_sent
            else [f"HTTP/1.1 {status} {HTTPStatus(status).phrase}", f"Date: {formatdate(usegmt=True)}"]
        )
        if not self._status_sent:
            lines += [f"Connection: {'Keep-Alive' if self.keep else 'Close'}"]
            lines += ["Keep-Alive: timeout=30"] if self.keep else []
        fields = self.headers | {"Content-Type": self.content_type} | extra
        if self.wanted:
            lower = {name.lower() for name in self.wanted}
            fields = {name: value for name, value in fields.items() if name.lower() not in lower} | self.wanted
        lines += [f"{name}: {value}" for name, value in fields.items()]
        self.begun = self._status_sent = True
        return ("\r\n".join(lines) + "\r\n\r\n").encode("latin-1", "replace")

    def _compressor(self, extra: dict[str, str]) -> compression.Compressor | None:
        if self.in_blocks:
            return Blocks()
        if self.coding is None:
            return None
        extra["Content-Encoding"] = self.coding
        return compression.compressor(self.coding, self.level)

    def summary(self, figures: Figures) -> str:
        """Returns the figures in the form of ClickHouse's summary and progress headers."""
        fields = {
            "read_rows": figures.read_rows,
            "read_bytes": figures.read_bytes,
            "written_rows": figures.written_rows,
            "written_bytes": figures.written_bytes,
            "total_rows_to_read": figures.total_rows_to_read,
            "result_rows": figures.result_rows,
            "result_bytes": figures.result_bytes,
            "elapsed_ns": time.monotonic_ns() - self._started,
        }
        return json.dumps({name: str(value) for name, value in fields.items()}, separators=(",", ":"))

    def progress(self, figures: Figures) -> None:
        """Sends a progress header before the others; from here on the status is 200."""
        data = b""
        if not self._status_sent:
            self._status_sent = True
            data = f"HTTP/1.1 200 OK\r\nDate: {formatdate(usegmt=True)}\r\nConnection: {'Keep-Alive' if self.keep else 'Close'}\r\n".encode()
        self._send(data + f"X-ClickHouse-Progress: {self.summary(figures)}\r\n".encode())

    def whole(self, body: bytes, figures: Figures | None = None, status: int = 200) -> None:
        """Sends a complete response."""
        self._ending()
        extra = {} if figures is None else {"X-ClickHouse-Summary": self.summary(figures)}
        if body and (coder := self._compressor(extra)) is not None:
            body = coder.compress(body) + coder.flush()
        head = self._head(
            status, extra if status == HTTPStatus.NO_CONTENT else extra | {"Content-Length": str(len(body))}
        )
        self._send(head if self._head_only else head + body)

    def begin(self, figures: Figures) -> None:
        """Starts a response of unknown length."""
        extra = {"X-ClickHouse-Summary": self.summary(figures), "X-ClickHouse-Exception-Tag": self._exception_tag}
        self._coder = self._compressor(extra)
        self._send(self._head(200, extra | {"Transfer-Encoding": "chunked"}))

    def chunk(self, data: bytes) -> None:
        if self._coder is not None:
            data = self._coder.compress(data)
        if data and not self._head_only:
            self._send(b"%x\r\n%b\r\n" % (len(data), data))

    def end(self) -> None:
        self._ending()
        tail = b"" if self._coder is None else self._coder.flush()
        if self._head_only:
            return
        self._send((b"%x\r\n%b\r\n" % (len(tail), tail) if tail else b"") + b"0\r\n\r\n")

    def fail(self, error: QueryError) -> None:
        """Sends an error: as the status before the first byte of the body, in the body after it."""
        text = error.text(self._version).encode(errors="surrogateescape")
        if not self.begun:
            self.content_type, self.wanted = "text/plain; charset=UTF-8", {}
            self.headers.pop("X-ClickHouse-Format", None)
            self.headers["X-ClickHouse-Exception-Code"] = str(error.code)
            if error.status == 401:
                self.headers["WWW-Authenticate"] = 'Basic realm="ClickHouse server HTTP API"'
            self.whole(text, status=error.status)
            return
        tag = self._exception_tag.encode()
        block = b"\r\n__exception__\r\n%b\r\n%b%d %b\r\n__exception__\r\n" % (tag, text, len(text), tag)
        self.chunk(block)
        if self._coder is not None:
            tail, self._coder = self._coder.flush(), None
            self.chunk(tail)
        # No last chunk: a client that does not know this block still sees that the response is truncated.
        self.keep = False
