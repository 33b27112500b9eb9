"""Resolves the interface's settings of one request: statement first, then URL, session, profile."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping

from embedded.engine.engine import Connection, Engine
from embedded.engine.running import Entry
from embedded.engine.sessions import Session
from embedded.engine.streaming import LEAST_BUFFER
from embedded.errors import QueryError
from embedded.http import compression
from embedded.http.request import Request
from embedded.http.response import Response
from embedded.interface import is_on
from embedded.sql.access import assignments
from embedded.sql.statement import Statement

_HEADERS = "http_response_headers"
# Headers of the response's length and coding.
_FRAMING = {"connection", "content-encoding", "content-length", "transfer-encoding"}
_CORS = {
    "Access-Control-Allow-Origin": "*",
    "Access-Control-Allow-Headers": "origin, x-requested-with, x-clickhouse-format, x-clickhouse-user, x-clickhouse-key, Authorization",
    "Access-Control-Allow-Methods": "POST, GET, OPTIONS",
    "Access-Control-Max-Age": "86400",
}


class Asked:
    """Reads the settings and configures the response."""

    def __init__(self, engine: Engine, session: Session, request: Request) -> None:
        self._engine = engine
        self._session = session
        self._parameters = request.parameters
        self._headers = request.headers
        self._clause: Mapping[str, str] = {}
        self._clause_texts: Mapping[str, str] = {}

    def add_statement(self, statement: Statement) -> None:
        """Adds the statement's SETTINGS clause."""
        if statement.verb != "SET":
            found = list(assignments(statement))
            self._clause = {name: value for name, value, _ in found}
            self._clause_texts = {name: text for name, _, text in found}

    def value(self, name: str) -> str | None:
        for source in (self._clause, self._parameters, self._session.own):
            if name in source:
                return source[name]
        return self._engine.default(self._session.user, name)

    def flag(self, name: str) -> bool:
        return is_on(self.value(name))

    def number(self, name: str, default: int) -> int:
        """Returns a numeric setting. Raises QueryError for another value."""
        value = self.value(name)
        if value is None or value == "":
            return default
        if not re.fullmatch("[0-9]{1,18}", value):
            raise QueryError(36, f"{name} is {value!r}: send a whole number")
        return int(value)

    def shape(self, response: Response) -> None:
        """Sets the response's coding and CORS headers. Raises QueryError for an unknown compression level."""
        response.in_blocks = is_on(self._parameters.get("compress"))
        response.coding = response.level = None
        if self.value("enable_http_compression") in (None, "1", "true"):
            response.coding = compression.accepted(self._headers.get("Accept-Encoding") or "")
        if response.coding is not None and self.value("http_zlib_compression_level") is not None:
            response.level = self.number("http_zlib_compression_level", 0)
            if not 1 <= response.level <= 9:
                response.level, level = None, response.level
                raise QueryError(36, f"http_zlib_compression_level is {level}: send 1 to 9")
        if self._headers.get("Origin") and self.flag("add_http_cors_header"):
            response.headers["Access-Control-Allow-Origin"] = "*"

    def wanted_headers(self, connection: Connection) -> dict[str, str]:
        """Returns the headers of `http_response_headers`, a map that the engine parses. Raises QueryError for an invalid header."""
        if self.value(_HEADERS) is None:
            return {}
        text = self._clause_texts.get(_HEADERS)
        clause = "" if text is None else f" SETTINGS {_HEADERS} = {text}"
        body, _ = connection.own(f"SELECT getSetting('{_HEADERS}') AS headers{clause}", "JSONEachRow")
        found: dict[str, str] = json.loads(body)["headers"]
        for name, value in found.items():
            if not re.fullmatch(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+", name) or re.search(r"[\x00-\x1f\x7f]", value):
                raise QueryError(36, f"{_HEADERS} has {name!r}: neither name nor value may have control characters")
            if name.lower() in _FRAMING:
                raise QueryError(36, f"{_HEADERS} has {name}, which belongs to the server: leave it out")
        return found

    def buffer(self) -> int | None:
        """Returns how many bytes to buffer before the first send; None: all."""
        if is_on(self._parameters.get("wait_end_of_query")) or self.flag("http_wait_end_of_query"):
            return None
        name = "buffer_size" if "buffer_size" in self._parameters else "http_response_buffer_size"
        return max(self.number(name, 0), LEAST_BUFFER)

    def progress(self) -> float | None:
        """Returns the seconds between two progress headers; None if the client wants none."""
        if not self.flag("send_progress_in_http_headers"):
            return None
        return max(self.number("http_headers_progress_interval_ms", 100), 10) / 1000

    def entry(self, tag: str, query_id: str, statement: Statement) -> Entry:
        """Returns the query's entry for the limits of running queries."""
        replace = self.number("replace_running_query_max_wait_ms", 5000) / 1000
        return Entry(
            tag,
            self._session.user.name,
            query_id,
            _kind(statement),
            self.number("max_concurrent_queries_for_user", 0),
            self.number("max_concurrent_queries_for_all_users", 0),
            self.number("queue_max_wait_ms", 0) / 1000,
            replace if self.flag("replace_running_query") else None,
        )


def _kind(statement: Statement) -> str:
    """Returns the kind of a statement for the limits; as in ClickHouse, KILL and SHOW PROCESSLIST do not count."""
    if statement.verb == "KILL" or (
        statement.kind == "output"
        and any(token.name.lower() in ("processes", "processlist") for token in statement.tokens)
    ):
        return "free"
    if statement.kind in ("insert", "input") or statement.verb == "INSERT":
        return "insert"
    return "select" if statement.kind == "output" and statement.verb in ("SELECT", "WITH", "FROM", "(") else "other"


def cors_preflight() -> dict[str, str]:
    """Returns the headers of the response to a CORS preflight."""
    return dict(_CORS)
