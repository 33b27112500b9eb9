"""HTTP/1.1 on threads: one for each connection, which reads its requests one after another."""

from __future__ import annotations

import logging
import socket
import socketserver
import threading
import time
from http.server import BaseHTTPRequestHandler
from typing import Any

from embedded.asked import cors_preflight
from embedded.compression import accepted
from embedded.errors import ClientGoneError, QueryError
from embedded.play import page
from embedded.queries import Queries
from embedded.request import Request
from embedded.response import Response

log = logging.getLogger("embedded")
_LONGEST_TARGET = 1 << 20
_IDLE_SECONDS = 30
_STALLED_SECONDS = 300
_LINGER_SECONDS = 2


class Server(socketserver.ThreadingTCPServer):
    """Listens as soon as it is made; `serve_forever` answers."""

    allow_reuse_address = True
    daemon_threads = True
    block_on_close = False
    request_queue_size = 256

    def __init__(self, address: tuple[str, int], queries: Queries, version: str) -> None:
        self.queries = queries
        self.version = version
        self.address_family = socket.AF_INET6 if ":" in address[0] else socket.AF_INET
        super().__init__(address, Handler)

    def handle_error(self, request: Any, client_address: Any) -> None:
        log.exception("A connection ended by an error of the server itself")


class Handler(BaseHTTPRequestHandler):
    """One connection."""

    protocol_version = "HTTP/1.1"
    rbufsize = 1 << 16
    disable_nagle_algorithm = True
    timeout = _IDLE_SECONDS
    server: Server

    def handle_one_request(self) -> None:
        self.close_connection = True
        self.connection.settimeout(_IDLE_SECONDS)
        self._expects = False
        try:
            self.raw_requestline = self.rfile.readline(_LONGEST_TARGET + 1)
            if not self.raw_requestline.strip() or len(self.raw_requestline) > _LONGEST_TARGET:
                return
            self.connection.settimeout(_STALLED_SECONDS)
            if not self.parse_request():
                return
            self._answer()
        except (TimeoutError, ConnectionError, ClientGoneError):
            self.close_connection = True

    def handle_expect_100(self) -> bool:
        self._expects = True  # answered when the body is read, so that a refused request need not send it
        return True

    def _proceed(self) -> None:
        if self._expects:
            self._expects = False
            self.connection.sendall(b"HTTP/1.1 100 Continue\r\n\r\n")

    def _answer(self) -> None:
        response = Response(
            self.connection, self.server.version, keep=not self.close_connection, head_only=self.command == "HEAD"
        )
        request = None
        started = time.monotonic()
        try:
            request = Request(self.command, self.path, self.headers, self.rfile, self._proceed, self.connection)  # type: ignore[arg-type]
            self._route(request, response)
        except (ClientGoneError, OSError):
            raise
        except Exception as error:  # the edge: an error of our own is an answer too
            if not isinstance(error, QueryError):
                log.exception("A request failed by an error of the server itself")
                error = QueryError(1001, f"The embedded server failed by itself: {type(error).__name__}")
            if request is not None:
                request.drain()
            if request is None or request.unread:
                response.keep = False
            query_id = response.headers.get("X-ClickHouse-Query-Id", "-")
            log.info("%s: %s (%s) after %.3f s", query_id, error.code, error.name, time.monotonic() - started)
            response.fail(error)
        if request is None or request.unread:
            response.keep = False
            self._linger()
        self.close_connection = not response.keep

    def _route(self, request: Request, response: Response) -> None:
        if request.path in ("/ping", "/replicas_status") and request.method in ("GET", "HEAD"):
            response.whole(b"Ok.\n")
        elif request.path == "/play" and (text := page()) is not None:
            response.content_type = "text/html; charset=UTF-8"
            response.coding = accepted(request.headers.get("Accept-Encoding") or "")
            response.whole(text)
        elif request.path not in ("/", "/query"):
            response.whole(
                f"There is no handle {request.path}\n\nUse / or /ping for health checks.\n".encode(errors="replace"),
                status=404,
            )
        elif request.method in ("GET", "HEAD") and "query" not in request.parameters:
            response.whole(b"Ok.\n")
        elif request.method == "OPTIONS" and self.server.queries.allows_other_pages(request):
            response.headers |= cors_preflight()
            response.whole(b"", status=204)
        elif request.method == "OPTIONS":  # /play asks so whether the server is there
            response.headers["Allow"] = "GET, HEAD, POST, OPTIONS"
            response.whole(b"")
        elif request.method in ("GET", "HEAD", "POST"):
            self.server.queries.serve(request, response, self.connection)
        else:
            response.whole(b"Use GET or POST.\n", status=405)

    def _linger(self) -> None:
        """Read on for a moment: closing with unread data would reset the connection before the client has the answer."""
        try:
            self.connection.shutdown(socket.SHUT_WR)
            self.connection.settimeout(_LINGER_SECONDS)
            end = time.monotonic() + _LINGER_SECONDS
            while time.monotonic() < end and self.rfile.read1(1 << 20):
                pass
        except OSError:
            pass

    def log_message(self, format: str, *arguments: Any) -> None:
        """The base class logs addresses with queries and passwords in them: log nothing here."""


def start_expiry(queries: Queries) -> None:
    """Close idle sessions when their time is over, even when no request comes."""

    def loop() -> None:
        while True:
            time.sleep(5)
            queries.sessions.expire()

    threading.Thread(target=loop, daemon=True, name="expiry").start()
