"""One query on its connection: settings, rights, execution, response."""

from __future__ import annotations

import re
import socket
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial

from embedded import interface
from embedded.engine.asked import Asked
from embedded.engine.engine import LEAST_FREE, TAG, Engine, quoted, refuse_several
from embedded.engine.inserts import insert
from embedded.engine.kill import kill_queries
from embedded.engine.native import check_version
from embedded.engine.running import Running
from embedded.engine.sessions import Session
from embedded.engine.shown import for_people, up_to_the_end
from embedded.engine.streaming import Runner
from embedded.errors import QueryError
from embedded.figures import Figures
from embedded.http import multipart
from embedded.http.reading import read_statement
from embedded.http.request import Request
from embedded.http.response import Response
from embedded.sql.access import assignments, check_setting, check_statement, right_to
from embedded.sql.files import check_files
from embedded.sql.lexer import tokens
from embedded.sql.statement import Statement, parse
from embedded.users import User

# Statements that write a definition.
_DEFINES = {"CREATE", "ATTACH", "DETACH", "REPLACE", "ALTER", "UNDROP", "RESTORE"}
# Statements that leave no state in their connection; so does CREATE without TEMPORARY.
_LEAVE_NOTHING = {"ALTER", "DELETE", "DROP", "EXCHANGE", "OPTIMIZE", "RENAME", "TRUNCATE", "UPDATE"}
# The role of users.xml that temporarily grants READ ON FILE for the pipe of an input().
_INPUT_ROLE = "input"


@dataclass
class Query:
    """A query. `tag` marks it in the engine; `client` is the socket, watched while the query runs."""

    engine: Engine
    runner: Runner
    queries: Running
    admin: User
    session: Session
    request: Request
    response: Response
    client: socket.socket
    query_id: str
    tag: str
    persistent: bool
    entered: bool = False
    _external: list[str] = field(default_factory=list)
    _done: Statement | None = None

    def run(self) -> None:
        """Answers the request. Raises QueryError, or ClientGoneError if the client has gone."""
        self.asked = Asked(self.engine, self.session, self.request)
        self.asked.shape(self.response)  # first of all: an error is packed as the answer would be
        mark = multipart.boundary(self.request.headers) if self.request.method == "POST" else None
        if mark is None:
            self._run()
            return
        form = multipart.read_form(self.request.body(), mark, self.request.limits)
        try:
            self.request.parameters |= form.fields
            self._run(form)
        finally:
            form.close()

    def settle(self) -> None:
        """Restores the session's state for the next request; call it when the engine has finished."""
        statement, session = self._done, self.session
        if self.persistent:
            for name in self._external:
                with suppress(QueryError):
                    session.connection.own(f"DROP TEMPORARY TABLE IF EXISTS {_name(name)}")
        self._external.clear()
        if statement is None:
            return
        if statement.verb == "USE":
            session.own_database = session.database = statement.tokens[-1].name
        elif statement.verb == "SET" and self.persistent:
            values = {name: value for name, value, _ in assignments(statement) if not name.startswith("param_")}
            with suppress(QueryError):  # with the limits just set, even this may fail: then as they are written
                values = session.connection.values(values)
            session.own |= values

    def _run(self, form: multipart.Form | None = None) -> None:
        request = self.request
        request.parameters = {
            name: value for name, value in request.parameters.items() if not request.limits.holds(name, value)
        }
        for name, value in request.parameters.items():
            interface.check(name, value)
        statement, data = read_statement(self.request.parameters, self.request.body())
        self.bound = {
            key.removeprefix("param_"): value
            for key, value in self.request.parameters.items()
            if key.startswith("param_")
        }
        session = self.session
        user = session.user
        check_statement(user, statement, self.engine.table_engines)
        if user.admin:
            check_files(statement, self.bound)
        self.asked.add_statement(statement)
        self.asked.shape(self.response)
        self.queries.enter(self.asked.entry(self.tag, self.query_id, statement))
        self.entered = True
        if statement.verb in _DEFINES and not self.engine.has_room():
            raise QueryError(243, f"Not enough space: {statement.verb} needs {LEAST_FREE >> 20} MB free on the disk")
        self.reads = self.request.method in ("GET", "HEAD")
        self._lend_settings(statement, set(form.files) if form else set())
        if form is not None:
            self._load_external(form)
        # A readonly connection could not take the next request's settings.
        session.clean = form is None and "readonly" not in session.lent and _leaves_nothing(statement)
        if self.reads:
            self._only_read(statement)
        right = right_to(statement)
        if right and self.session.connection.own(f"CHECK GRANT {right} ON *.*")[0].strip() != b"1":
            raise QueryError(497, f"{user.name}: Not enough privileges: it needs the grant {right} ON *.*")
        self._choose_answer(statement)
        if statement.kind == "output":
            self._output(statement)
        elif statement.kind in ("insert", "input"):
            self._insert(statement, data)
        else:
            self._other(statement)

    # Settings

    def _lend_settings(self, statement: Statement, external: set[str]) -> None:
        """Applies the request's settings and database to the connection, and resets those of the last request."""
        session, connection = self.session, self.session.connection
        lent = {}
        for name, value in asked_settings(self.request.parameters).items():
            table, _, what = name.rpartition("_")
            if what in ("structure", "types", "format") and table in external:
                continue
            if name == "readonly" and value in ("1", "2") and self.persistent:
                self.reads = True  # the engine's own could not be taken back
                continue
            check_setting(session.user, name, value)
            if name in interface.COUNTS:
                continue
            if not re.fullmatch(r"\w+", name):
                raise QueryError(115, f"Unknown setting '{name}'")
            lent[name] = value
        back = {
            name: quoted(session.own[name]) if name in session.own else self._profile_value(name)
            for name in session.lent.keys() - lent.keys()
        }
        mark = {} if "log_comment" in session.own | lent else {"log_comment": self.query_id}
        # A pooled connection already has these settings; in a session, statements may have changed them.
        there = {} if self.persistent else session.lent
        asked = {name: value for name, value in lent.items() if there.get(name) != value}
        new = {name: quoted(value) for name, value in (mark | {TAG: self.tag} | asked).items()}
        connection.own("SET " + ", ".join(f"{name} = {value}" for name, value in (back | new).items()))
        session.lent = lent
        if "session_timezone" in lent:
            self.response.headers["X-ClickHouse-Timezone"] = lent["session_timezone"]
        database = self.request.database or session.own_database
        if database != session.database:
            connection.own(f"USE {_name(database)}")
            session.database = database

    def _profile_value(self, name: str) -> str:
        """Returns the value to which a setting is reset. An empty `compatibility` undoes all its changes; DEFAULT does not."""
        value = self.engine.default(self.session.user, name)
        if value is None:
            return "''" if name == "compatibility" else "DEFAULT"
        return quoted(value)

    def _only_read(self, statement: Statement) -> None:
        if statement.kind != "output" and statement.verb not in ("SET", "USE"):
            raise QueryError(
                164,
                "Cannot execute query in readonly mode. For queries over HTTP, method GET implies readonly."
                " You should use method POST for modifying queries.",
            )
        if not self.persistent and self.engine.default(self.session.user, "readonly") is None:
            self.session.clean = False
            self.session.connection.set({"readonly": "2"})

    def _load_external(self, form: multipart.Form) -> None:
        structures = multipart.table_structures(self.request.parameters)
        connection = self.session.connection
        for name, file in form.files.items():
            if name not in structures:
                raise QueryError(36, f"External table {name} has no {name}_structure or {name}_types")
            columns, data_format = structures[name]
            create = parse(f"CREATE TEMPORARY TABLE {_name(name)} ({columns})", complete=True)
            if create is None:
                raise QueryError(62, f"Syntax error: the structure of external table {name} is not complete")
            check_statement(self.session.user, create, self.engine.table_engines)
            refuse_several(connection, create.text)
            connection.own(create.text)
            self._external.append(name)
            target = f"INSERT INTO {_name(name)}"
            into = Statement(target, tuple(tokens(target)), "insert", data_format)
            insert(connection, self.runner, into, iter(partial(file.read, 1 << 20), b""), {}, self._cancel)

    # Running

    def _choose_answer(self, statement: Statement) -> None:
        parameters, headers = self.request.parameters, self.request.headers
        default = headers.get("X-ClickHouse-Format") or parameters.get("default_format") or "TabSeparated"
        self.format = statement.format or default
        if not re.fullmatch(r"\w+", self.format):
            raise QueryError(73, f"Unknown format {self.format}", "UNKNOWN_FORMAT")
        self.response.wanted = self.asked.wanted_headers(self.session.connection)
        if statement.kind == "output":
            self._name_format()

    def _name_format(self) -> None:
        self.response.headers["X-ClickHouse-Format"] = self.format
        self.response.content_type = self.engine.content_type(self.format)

    def _cancel(self) -> bool:
        return self.engine.kill(self.tag)

    def _output(self, statement: Statement) -> None:
        end = len(statement.text.encode(errors="surrogateescape"))
        statement = for_people(statement, self.session.database)
        refuse_several(self.session.connection, statement.text)
        try:
            if self.format == "Native":
                version = self.asked.number("client_protocol_version", 0)
                check_version(self.session.connection, statement, self.bound, version)
            self.runner.stream(
                self.session.connection,
                lambda descriptor: statement.into_outfile(descriptor, self.format),
                self.bound,
                self.response,
                self.client,
                self._cancel,
                buffer=self.asked.buffer(),
                progress=self.asked.progress(),
            )
        except QueryError as error:
            error.message = up_to_the_end(error.message, end)
            raise

    def _insert(self, statement: Statement, data: Iterable[bytes]) -> None:
        connection, user = self.session.connection, self.session.user
        lent = statement.kind == "input" and not user.admin
        refuse_several(connection, statement.text)
        self.request.leave_in_connection()
        if lent:
            connection.own(f"SET ROLE {user.role}, {_INPUT_ROLE}")
        try:
            figures = insert(connection, self.runner, statement, data, self.bound, self._cancel)
        finally:
            if lent:
                connection.own(f"SET ROLE {user.role}")
        self.response.whole(b"", figures)

    def _other(self, statement: Statement) -> None:
        connection, text = self.session.connection, statement.text
        if self.persistent and ("readonly", "1") in [(name, value) for name, value, _ in assignments(statement)]:
            raise QueryError(48, "SET readonly = 1 is not supported in a session: send readonly=1 with each request")
        refuse_several(connection, statement.text)
        kill = statement.words("KILL", "QUERY")
        if kill:  # the engine's list of queries is not the user's to read
            connection = self.engine.connect(self.admin)

        def work() -> tuple[bytes, Figures]:
            if kill:
                return kill_queries(connection, self.session.user, statement, self.format, self.bound)
            return connection.run(text, self.format, self.bound)

        try:
            body, figures = self.runner.wait(
                connection,
                work,
                self.response,
                self.client,
                self._cancel,
                progress=self.asked.progress(),
            )
        finally:
            if kill:
                connection.close()
        if body or kill:
            self._name_format()
        self._done = statement
        self.response.whole(body, figures)


def asked_settings(parameters: Mapping[str, str]) -> dict[str, str]:
    """Returns the settings among the parameters of a request."""
    return {
        name: value
        for name, value in parameters.items()
        if name and name not in interface.NO_SETTINGS and not name.startswith("param_")
    }


def _leaves_nothing(statement: Statement) -> bool:
    """Whether the statement leaves no state in its connection."""
    if statement.verb == "CREATE":
        return not any(token.upper == "TEMPORARY" for token in statement.tokens[:4])
    return statement.kind in ("output", "insert") or statement.verb in _LEAVE_NOTHING


def _name(identifier: str) -> str:
    escaped = identifier.replace("\\", "\\\\").replace("`", "\\`")
    return f"`{escaped}`"
