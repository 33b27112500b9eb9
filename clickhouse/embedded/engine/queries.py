"""Serves queries: authenticates users, acquires sessions, tracks running queries."""

from __future__ import annotations

import re
import socket
import threading
import uuid

from embedded import interface
from embedded.engine.engine import Engine
from embedded.engine.query import Query, asked_settings
from embedded.engine.running import QueryLimits, Running
from embedded.engine.sessions import DEFAULT_DATABASE, Sessions
from embedded.engine.shown import clients_text
from embedded.engine.streaming import Runner
from embedded.errors import QueryError
from embedded.http.head import Limits
from embedded.http.request import Request
from embedded.http.response import Response
from embedded.sql.access import check_setting
from embedded.users import ADMIN, User, authenticate


class Queries:
    """Serves requests on one engine. Thread-safe."""

    def __init__(self, engine: Engine, users: dict[str, User], limits: QueryLimits) -> None:
        self.sessions = Sessions(engine)
        self._engine = engine
        self._users = users
        self._runner = Runner()
        self._lock = threading.Lock()
        self._queries = Running(limits, engine.kill)
        self._requests = 0
        self.limits = Limits.of_profile(lambda name: engine.default(users[ADMIN], name))
        self._stopping = False

    @property
    def running(self) -> int:
        """Number of requests in progress."""
        return self._requests

    def stop(self) -> None:
        """Refuses further requests; running ones continue."""
        self._stopping = True

    def cancel_all(self) -> None:
        """Asks every running query to stop."""
        for tag in self._queries.tags:
            self._engine.kill(tag)

    def allows_other_pages(self, request: Request) -> bool:
        """Whether a browser may send queries from pages of other servers; its preflight request has no credentials."""
        name = "add_http_cors_header"
        return request.flag(name) or interface.is_on(self._engine.default(self._users[ADMIN], name))

    def serve(self, request: Request, response: Response, client: socket.socket) -> None:
        """Runs the request's statement and sends the response. Raises QueryError and ClientGoneError."""
        user = authenticate(self._users, *request.credentials())
        parameters = request.parameters
        query_id = parameters.get("query_id") or request.headers.get("X-ClickHouse-Query-Id") or str(uuid.uuid4())
        shown = re.sub(r"[^\x20-\x7e]", "?", query_id)
        response.headers |= {"X-ClickHouse-Query-Id": shown, "X-ClickHouse-Timezone": "UTC"}
        check_setting(user, "role", parameters.get("role", user.role))
        with self._lock:
            if self._stopping:
                raise QueryError(236, "The server is stopping")
            self._requests += 1
        try:
            self._in_session(user, request, response, client, query_id)
        except QueryError as error:
            error.message = clients_text(error.message)
            if error.message.startswith(f"{ADMIN}: "):  # the engine's only user; the client knows its own name
                error.message = f"{user.name}: {error.message.removeprefix(f'{ADMIN}: ')}"
            raise
        finally:
            with self._lock:
                self._requests -= 1

    def _in_session(
        self, user: User, request: Request, response: Response, client: socket.socket, query_id: str
    ) -> None:
        parameters = request.parameters
        name = parameters.get("session_id", "")
        check = request.flag("session_check")
        database = request.database or DEFAULT_DATABASE
        settings = asked_settings(parameters)
        session = self.sessions.acquire(user, name, parameters.get("session_timeout"), check, database, settings)
        tag = f"{user.name}/{query_id}"
        query = Query(
            self._engine,
            self._runner,
            self._queries,
            self._users[ADMIN],
            session,
            request,
            response,
            client,
            query_id,
            tag,
            bool(name),
        )
        released = False

        def release(*, broken: bool) -> None:
            nonlocal released
            if released:
                return
            released = True
            query.settle()
            if query.entered:
                self._queries.leave(tag)
            self.sessions.release(session, name, broken=broken or request.flag("close_session"))

        response.at_end = lambda: release(broken=False)
        try:
            query.run()
        except QueryError:
            release(broken=False)
            raise
        finally:
            response.at_end = None
            release(broken=True)
