"""The imitations behind HTTP, with faults that are ordered for the requests to come."""

from __future__ import annotations

import contextlib
import gzip
import json
import socket
import struct
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Literal
from urllib.parse import parse_qsl, urlencode, urlsplit

from testing.demo_api import data

Kind = Literal["status", "reset", "cut", "cut chunk", "hang", "text"]


_LONGEST_HANG = 60


@dataclass(frozen=True)
class Fault:
    """A reply that one request gets in place of its answer."""

    kind: Kind
    status: int = 200
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes = b""


@dataclass(frozen=True)
class Seen:
    """A request as it came."""

    path: str
    query: Mapping[str, str]
    headers: Mapping[str, str]


@dataclass
class DemoApi:
    """The state of the imitations."""

    products: list[str] = field(default_factory=data.products)
    users: list[str] = field(default_factory=data.users)
    carts: list[str] = field(default_factory=data.carts)
    issues: list[str] = field(default_factory=data.issues)
    token: str = ""
    """The bearer token that GitHub's requests must have; anything is right without."""
    faults: list[Fault] = field(default_factory=list)
    """Each is for one request, in order."""
    before: Callable[[int], None] = lambda number: None
    """Called before each answer with the number of the request, from 1."""
    packs: bool = False
    """Whether answers are packed where the client allows it."""
    released: threading.Event = field(default_factory=threading.Event)
    """Until it is set, a request that hangs gets no answer."""
    seen: list[Seen] = field(default_factory=list)

    def items(self, path: str, query: Mapping[str, str], origin: str) -> tuple[str, Mapping[str, str]] | None:
        """Returns the body of an answer and its headers; None for a path that nobody knows."""
        whole: dict[str, list[str]] = {"/products": self.products, "/users": self.users, "/carts": self.carts}
        if path in whole:
            return _array(whole[path]), {}
        if path.startswith("/repos/") and path.endswith("/issues"):
            return self._issues(path, query, origin)
        if path == "/by_page":
            size = int(query.get("size", "10"))
            number = int(query.get("page", "1"))
            return _array(self.products[(number - 1) * size : number * size]), {}
        if path == "/by_offset":
            start = int(query["offset"])
            return _array(self.products[start : start + int(query["limit"])]), {}
        if path == "/by_cursor":
            start = int(query.get("cursor", "0"))
            following = start + 7 if start + 7 < len(self.products) else None
            items = _array(self.products[start : start + 7])
            return f'{{"data":{{"items":{items}}},"next":{json.dumps(following)}}}', {}
        if path == "/by_last_id":
            ids = [json.loads(item)["id"] for item in self.products]
            start = ids.index(int(query["starting_after"])) + 1 if "starting_after" in query else 0
            more = json.dumps(start + 6 < len(ids))
            return f'{{"data":{_array(self.products[start : start + 6])},"has_more":{more}}}', {}
        if path == "/by_body_link":
            start = int(query.get("from", "0"))
            link = f"/by_body_link?from={start + 8}" if start + 8 < len(self.products) else None
            return f'{{"items":{_array(self.products[start : start + 8])},"next":{json.dumps(link)}}}', {}
        return None

    def _issues(self, path: str, query: Mapping[str, str], origin: str) -> tuple[str, Mapping[str, str]]:
        """`since` is inclusive, pages have at most 100 items, and a Link header leads to the next."""
        found = [(json.loads(item)["updated_at"], item) for item in self.issues]
        found = sorted((one for one in found if one[0] >= query.get("since", "")), key=lambda one: one[0])
        if query.get("direction", "desc") == "desc":
            found.reverse()
        size, number = min(int(query.get("per_page", "30")), 100), int(query.get("page", "1"))
        headers = {}
        if number * size < len(found):
            link = f"{origin}{path}?{urlencode({**query, 'page': str(number + 1)})}"
            headers = {"Link": f'<{link}>; rel="next"'}
        return _array([item for _, item in found[(number - 1) * size : number * size]]), headers


def _array(items: Sequence[str]) -> str:
    return f"[{','.join(items)}]"


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    api: DemoApi
    lock: threading.Lock

    def do_GET(self) -> None:
        parts = urlsplit(self.path)
        query = dict(parse_qsl(parts.query, keep_blank_values=True))
        with self.lock:
            self.api.seen.append(Seen(parts.path, query, {k.lower(): v for k, v in self.headers.items()}))
            self.api.before(len(self.api.seen))
            fault = self.api.faults.pop(0) if self.api.faults else None
            origin = f"http://{self.headers['Host']}"
            found = None if fault and fault.kind == "reset" else self.api.items(parts.path, query, origin)
        if fault is not None:
            self._fail(fault, found[0].encode() if found else b"[]")
        elif parts.path.startswith("/repos/") and self.headers.get("Authorization", "") != self._expected():
            self._send(401, {}, b'{"message":"Bad credentials"}')
        elif found is None:
            self._send(404, {}, b'{"message":"Not Found"}')
        else:
            self._send(200, found[1], found[0].encode())

    def _expected(self) -> str:
        return f"Bearer {self.api.token}" if self.api.token else self.headers.get("Authorization", "")

    def _send(self, status: int, headers: Mapping[str, str], body: bytes) -> None:
        if self.api.packs and "gzip" in self.headers.get("Accept-Encoding", ""):
            body, headers = gzip.compress(body), {**headers, "Content-Encoding": "gzip"}
        self.send_response_only(status)
        own = {"Date": self.date_time_string(), "Content-Type": "application/json; charset=utf-8"}
        for name, value in {**own, **headers}.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def _fail(self, fault: Fault, body: bytes) -> None:
        if fault.kind == "reset":
            # Zero seconds of lingering: the client gets a reset and not an end.
            self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            self.close_connection = True
            self.connection.close()
        elif fault.kind == "cut":
            self.send_response(200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body[: len(body) // 2])
            self.close_connection = True
        elif fault.kind == "hang":
            self.api.released.wait(_LONGEST_HANG)
            self.close_connection = True
        elif fault.kind == "cut chunk":
            self.send_response(200)
            self.send_header("Transfer-Encoding", "chunked")
            self.end_headers()
            self.wfile.write(f"{len(body):x}\r\n".encode() + body[: len(body) // 2])
            self.close_connection = True
        else:
            self._send(fault.status, fault.headers, fault.body)

    def log_message(self, format: str, *arguments: object) -> None:
        """Says nothing: tests look at `seen`."""


class Server(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, request: object, client_address: object) -> None:
        """Says nothing of clients that hang up, as a killed one does."""


def make_server(api: DemoApi, port: int = 0) -> Server:
    """Returns the server, which listens and does not answer yet."""
    handler = type("Handler", (_Handler,), {"api": api, "lock": threading.Lock()})
    return Server(("127.0.0.1", port), handler)


@contextlib.contextmanager
def serving(api: DemoApi) -> Iterator[str]:
    """Answers in the body; yields the address."""
    server = make_server(api)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
