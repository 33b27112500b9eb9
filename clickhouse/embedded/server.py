"""HTTP/1.1 server: one thread for each connection, which serves its requests in turn."""

from __future__ import annotations

import logging
import socket
import socketserver
import threading
import time
from contextlib import suppress
from io import BufferedReader
from typing import Any, cast

from embedded.engine.asked import cors_preflight
from embedded.engine.queries import Queries
from embedded.errors import ClientGoneError, QueryError
from embedded.http.compression import accepted
from embedded.http.head import Head, HeadError, HeadReader
from embedded.http.play import page
from embedded.http.request import Request
from embedded.http.response import Response

log = logging.getLogger("embedded")
_IDLE_SECONDS = 30
_STALLED_SECONDS = 300
_LINGER_SECONDS = 2


class Server(socketserver.ThreadingTCPServer):
    """The server. It listens from its creation; `serve_forever` accepts connections."""

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


class Handler(socketserver.StreamRequestHandler):
    """One connection."""

    rbufsize = 1 << 16
    disable_nagle_algorithm = True
    server: Server

    def handle(self) -> None:
        self._source = cast(BufferedReader, self.rfile)
        heads = HeadReader(self._source, self.connection, self.server.queries.limits)
        try:
            while (head := heads.read(_IDLE_SECONDS)) is not None:
                self.connection.settimeout(_STALLED_SECONDS)
                self._expects = (head.headers.get("Expect") or "").lower() == "100-continue"
                if not self._answer(head):
                    return
        except HeadError as error:
            log.info("A request was refused: %s", error)
            response = Response(self.connection, self.server.version, keep=False, head_only=False)
            with suppress(ClientGoneError):
                response.whole(b"", status=400)
                self._linger()
        except (TimeoutError, ConnectionError, ClientGoneError):
            pass

    def _proceed(self) -> None:
        """Sends 100 Continue to a client that waits for it before sending the body; a refused request need not send it."""
        if self._expects:
            self._expects = False
            self.connection.sendall(b"HTTP/1.1 100 Continue\r\n\r\n")

    def _answer(self, head: Head) -> bool:
        """Answers a request; returns whether the connection can serve another."""
        response = Response(self.connection, self.server.version, keep=head.keep, head_only=head.method == "HEAD")
        request = None
        started = time.monotonic()
        try:
            request = Request(
                head.method,
                head.target,
                head.headers,
                self._source,
                self._proceed,
                self.connection,
                self.server.queries.limits,
            )
            self._route(request, response)
        except (ClientGoneError, OSError):
            raise
        except Exception as error:  # the outermost layer: our own errors need a response too
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
        return response.keep

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
        elif request.method == "OPTIONS":  # /play probes the server like this
            response.headers["Allow"] = "GET, HEAD, POST, OPTIONS"
            response.whole(b"")
        elif request.method in ("GET", "HEAD", "POST"):
            self.server.queries.serve(request, response, self.connection)
        else:
            response.whole(b"Use GET or POST.\n", status=405)

    def _linger(self) -> None:
        """Reads on for a moment: closing with unread data would reset the connection before the client has read the response."""
        try:
            self.connection.shutdown(socket.SHUT_WR)
            self.connection.settimeout(_LINGER_SECONDS)
            end = time.monotonic() + _LINGER_SECONDS
            while time.monotonic() < end and self.rfile.read1(1 << 20):
                pass
        except OSError:
            pass


def start_expiry(queries: Queries) -> None:
    """Starts a thread that closes expired sessions, even without requests."""

    def loop() -> None:
        while True:
            time.sleep(5)
            queries.sessions.expire()

    threading.Thread(target=loop, daemon=True, name="expiry").start()
