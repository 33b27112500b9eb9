"""One query from its request to its answer: session, settings, rights, engine, stream."""

from __future__ import annotations

import os
import re
import socket
import threading
import uuid
from collections.abc import Iterable, Iterator
from itertools import chain

from embedded import compression
from embedded.access import User, authenticate, check_setting, check_statement
from embedded.engine import TAG, Connection, Engine, Figures, quoted, refuse_several
from embedded.errors import ClientGoneError, QueryError
from embedded.formats import content_type
from embedded.request import Request
from embedded.response import Response
from embedded.sessions import Session, Sessions
from embedded.statement import Statement, parse
from embedded.streaming import Runner

# Parameters of the interface; every other one is a setting.
_INTERFACE = {
    "query", "user", "password", "database", "default_format", "session_id", "session_timeout", "session_check",
    "session_close", "query_id", "quota_key", "role", "wait_end_of_query", "buffer_size", "stacktrace",
    "client_protocol_version", "compress", "decompress",
    "send_progress_in_http_headers", "http_headers_progress_interval_ms", "enable_http_compression",
    "http_zlib_compression_level", "http_write_exception_in_output_format", "cancel_http_readonly_queries_on_client_close",
}  # fmt: skip
_HEAD = 1 << 16
_TRUE = {"1", "true"}


class Queries:
    """Serves requests on one engine. Thread-safe."""

    def __init__(self, engine: Engine, users: dict[str, User]) -> None:
        self._engine = engine
        self._users = users
        self.sessions = Sessions(engine)
        self._runner = Runner()
        self._lock = threading.Lock()
        self._running: set[str] = set()

    @property
    def running(self) -> int:
        return len(self._running)

    def cancel_all(self) -> None:
        """Ask every running query to stop."""
        with self._lock:
            tags = list(self._running)
        for tag in tags:
            self._engine.kill(tag)

    def serve(self, request: Request, response: Response, client: socket.socket) -> None:
        """Run the request's statement and send its answer. Raises QueryError and ClientGoneError."""
        user = authenticate(self._users, *request.credentials())
        parameters = request.parameters
        query_id = parameters.get("query_id") or str(uuid.uuid4())
        tag = f"{user.name}/{query_id}"
        response.headers |= {"X-ClickHouse-Query-Id": _header(query_id), "X-ClickHouse-Timezone": "UTC"}
        if any(parameters.get(name) in _TRUE for name in ("compress", "decompress")):
            raise QueryError(344, "compress and decompress are not supported: use Accept-Encoding and Content-Encoding")
        check_setting(user, "role", parameters.get("role", user.role))
        with self._lock:
            if tag in self._running:
                raise QueryError(216, f"Query with id = {query_id} is already running", "QUERY_WITH_SAME_ID_IS_ALREADY_RUNNING")
            self._running.add(tag)
        try:
            self._in_session(user, request, response, client, query_id, tag)
        finally:
            with self._lock:
                self._running.discard(tag)

    def _in_session(self, user: User, request: Request, response: Response, client: socket.socket, query_id: str, tag: str) -> None:
        parameters = request.parameters
        name = parameters.get("session_id", "")
        session = self.sessions.acquire(user, name, parameters.get("session_timeout"), parameters.get("session_check") in _TRUE)
        broken = True
        try:
            _Query(self._engine, self._runner, session, request, response, client, query_id, tag).run(persistent=bool(name))
            broken = False
        except QueryError:
            broken = False
            raise
        finally:
            self.sessions.release(session, name, broken=broken or parameters.get("session_close") in _TRUE)


class _Query:
    def __init__(
        self, engine: Engine, runner: Runner, session: Session, request: Request, response: Response, client: socket.socket,
        query_id: str, tag: str,
    ) -> None:  # fmt: skip
        self._engine = engine
        self._runner = runner
        self._session = session
        self._user = session.user
        self._connection: Connection = session.connection
        self._request = request
        self._parameters = request.parameters
        self._response = response
        self._client = client
        self._query_id = query_id
        self._tag = tag
        self._bound = {
            key.removeprefix("param_"): value for key, value in request.parameters.items() if key.startswith("param_")
        }

    def run(self, *, persistent: bool) -> None:
        statement, data = self._read_statement()
        check_statement(self._user, statement)
        self._lend_settings()
        if self._request.method in ("GET", "HEAD"):
            self._only_read(statement, persistent)
        self._choose_answer(statement)
        if statement.kind == "insert":
            self._insert(statement, data)
        elif statement.kind == "input":
            self._insert_select(statement, data)
        elif statement.kind == "output":
            self._output(statement)
        else:
            self._other(statement)
        self._remember(statement)

    # Reading

    def _read_statement(self) -> tuple[Statement, Iterable[bytes]]:
        """The statement, from `query` and as much of the body as it takes, and the data behind it."""
        text = self._parameters.get("query", "").encode(errors="surrogateescape")
        body = self._request.body()
        if text.strip():
            found = parse(_decoded(text), complete=True)
            assert found is not None
            if found.data is not None:
                rest = _decoded(text)[found.data :].encode(errors="surrogateescape")
                return found, chain([rest] if rest.strip() else [], body)
            text += b"\n"
        size = _HEAD
        while (more := next(body, None)) is not None:
            text += more
            if len(text) < size:
                continue
            found = parse(_decoded(text[:size]), complete=False)
            if found is not None:
                return self._with_data(found, text, body)
            size = len(text) * 2
        found = parse(_decoded(text), complete=True)
        assert found is not None
        return (found, []) if found.data is None else self._with_data(found, text, body)

    def _with_data(self, found: Statement, text: bytes, body: Iterator[bytes]) -> tuple[Statement, Iterable[bytes]]:
        at = len(_decoded(text)[: found.data].encode(errors="surrogateescape"))
        return found, chain([text[at:]] if len(text) > at else [], body)

    # Settings

    def _lend_settings(self) -> None:
        """Give the connection the request's settings and database, and take back those of the request before."""
        session = self._session
        lent = {}
        for name, value in self._parameters.items():
            if name in _INTERFACE or name.startswith("param_"):
                continue
            check_setting(self._user, name, value)
            if not re.fullmatch(r"\w+", name):
                raise QueryError(115, f"Unknown setting '{name}'")
            lent[name] = value
        for name in session.lent.keys() - lent.keys():
            value = session.own.get(name) or self._engine.default(self._user, name)
            self._connection.run(f"SET {name} = {'DEFAULT' if value is None else quoted(value)}")
        session.lent = {}
        self._connection.set({"log_comment": self._query_id, TAG: self._tag} | lent)
        session.lent = lent
        database = self._parameters.get("database") or self._request.headers.get("X-ClickHouse-Database") or session.own_database
        if database != session.database:
            self._connection.run(f"USE `{_escaped(database)}`")
            session.database = database

    def _remember(self, statement: Statement) -> None:
        """Keep what the statement did to the session."""
        if statement.verb == "USE":
            self._session.own_database = self._session.database = statement.tokens[-1].name
        elif statement.verb == "SET":
            for name, equals, value in zip(statement.tokens[1:], statement.tokens[2:], statement.tokens[3:], strict=False):
                if equals.text == "=":
                    self._session.own[name.name] = value.name

    def _only_read(self, statement: Statement, persistent: bool) -> None:
        if statement.kind != "output" and statement.verb not in ("SET", "USE"):
            raise QueryError(
                164,
                "Cannot execute query in readonly mode. For queries over HTTP, method GET implies readonly."
                " You should use method POST for modifying queries.",
            )
        if not persistent and self._engine.default(self._user, "readonly") is None:
            self._connection.set({"readonly": "2"})

    def _choose_answer(self, statement: Statement) -> None:
        parameters, headers = self._parameters, self._request.headers
        default = parameters.get("default_format") or headers.get("X-ClickHouse-Format") or "TabSeparated"
        self._format = statement.format or default
        if not re.fullmatch(r"\w+", self._format):
            raise QueryError(73, f"Unknown format {self._format}", "UNKNOWN_FORMAT")
        if statement.kind == "output":
            self._response.headers["X-ClickHouse-Format"] = self._format
            self._response.content_type = content_type(self._format)
            if parameters.get("enable_http_compression", "1") in _TRUE:
                self._response.coding = compression.accepted(headers.get("Accept-Encoding") or "")

    # Running

    def _cancel(self) -> None:
        self._engine.kill(self._tag)

    def _output(self, statement: Statement) -> None:
        refuse_several(self._connection, statement.text)
        self._runner.stream(
            self._connection,
            lambda path: statement.into_outfile(path, self._format),
            self._bound,
            self._response,
            self._client,
            self._cancel,
            whole=self._parameters.get("wait_end_of_query") in _TRUE,
            progress=self._parameters.get("send_progress_in_http_headers") in _TRUE,
        )

    def _other(self, statement: Statement) -> None:
        refuse_several(self._connection, statement.text)
        text = self._kill(statement) if statement.words("KILL", "QUERY") else statement.text
        body, figures = self._runner.wait(
            lambda: self._connection.run(text, self._format, self._bound), self._client, self._cancel
        )
        if body:
            self._response.headers["X-ClickHouse-Format"] = self._format
            self._response.content_type = content_type(self._format)
        self._response.whole(body, figures)

    def _kill(self, statement: Statement) -> str:
        """KILL QUERY with query ids as clients know them, reaching only the user's own queries unless by the admin."""
        parts, position = [], 0
        names = {"query_id": f"extract(Settings['{TAG}'], '^[^/]*/(.*)$')", "user": f"extract(Settings['{TAG}'], '^[^/]*')"}
        end = len(statement.tokens)
        for index, token in enumerate(statement.tokens):
            if token.kind in ("word", "quoted") and token.name in names:
                parts += [statement.text[position : token.start], names[token.name]]
                position = token.end
            if token.upper == "WHERE":
                own = "" if self._user.admin else f"startsWith(Settings['{TAG}'], {quoted(self._user.name + '/')}) AND "
                parts += [statement.text[position : token.end], f" {own}("]
                position = token.end
            if token.upper in ("SYNC", "ASYNC", "TEST", "FORMAT") and index < end:
                end = index
        last = statement.tokens[end - 1].end
        return "".join([*parts, statement.text[position:last], ") ", statement.text[last:]])

    def _insert(self, statement: Statement, data: Iterable[bytes]) -> None:
        connection = self._connection
        connection.begin_insert(statement.text, statement.format or "Values")
        try:
            for chunk in data:
                connection.append(chunk)
            figures = connection.finish_insert()
        except BaseException:
            connection.cancel_insert()
            raise
        self._response.whole(b"", figures)

    def _insert_select(self, statement: Statement, data: Iterable[bytes]) -> None:
        """input() has no place in the engine, a pipe read as a file has."""
        reader, writer = os.pipe()
        text = re.sub(
            r"\binput\s*\(", f"file('/dev/fd/{reader}', {quoted(statement.format or '')}, ", statement.text, count=1, flags=re.IGNORECASE
        )
        raise QueryError(48, f"INSERT .. SELECT .. FROM input() is not supported yet: {text[:0]}{os.close(reader) or os.close(writer) or ''}")


def _decoded(text: bytes) -> str:
    return text.decode(errors="surrogateescape")


def _escaped(name: str) -> str:
    return name.replace("\\", "\\\\").replace("`", "\\`")


def _header(value: str) -> str:
    return re.sub(r"[^\x20-\x7e]", "?", value)


__all__ = ["ClientGoneError", "Figures", "Queries"]
