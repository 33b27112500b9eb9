"""KILL QUERY by the clients' query ids, which differ from the engine's."""

from __future__ import annotations

import json
from collections.abc import Mapping

from embedded.engine.engine import TAG, Connection, quoted
from embedded.engine.shown import id_sql, query_sql, user_sql
from embedded.figures import Figures
from embedded.sql.statement import Statement
from embedded.users import User

_NAMES = {"query_id": f"extract(Settings['{TAG}'], '^[^/]*/(.*)$')", "user": f"extract(Settings['{TAG}'], '^[^/]*')"}
_COLUMNS = "kill_status String, query_id String, user String, query String"


def kill_queries(
    connection: Connection, user: User, statement: Statement, output_format: str, bound: Mapping[str, str]
) -> tuple[bytes, Figures]:
    """Runs the KILL on the admin's connection; returns the killed queries with the clients' ids and users. Raises QueryError."""
    known = {}
    shown = f"SELECT query_id, {id_sql()}, {user_sql()}, {query_sql()} FROM system.processes"
    for row in connection.own(shown, "JSONCompactEachRow")[0].splitlines():
        engines_id, *clients = json.loads(row.decode(errors="replace"))
        known[engines_id] = clients
    body, figures = connection.run(by_client_id(user, statement), "JSONCompactEachRow", bound)
    rows = []
    for row in body.splitlines():
        status, engines_id, *rest = json.loads(row.decode(errors="replace"))
        rows.append(json.dumps([status, *known.get(engines_id, [engines_id, *rest])]))
    answer = f"SELECT * FROM format(JSONCompactEachRow, '{_COLUMNS}', {{rows:String}})"
    return (connection.own(answer, output_format, {"rows": _escaped("\n".join(rows))})[0] if rows else b""), figures


def _escaped(text: str) -> str:
    return text.replace("\\", "\\\\").replace("\n", "\\n").replace("\t", "\\t")


def by_client_id(user: User, statement: Statement) -> str:
    """Returns the statement with its condition on the clients' ids and users, and without FORMAT; limited to the user's own queries,
    except for the admin."""
    parts, position, end = [], 0, len(statement.tokens)
    sync = ""
    for index, token in enumerate(statement.tokens):
        if token.kind in ("word", "quoted") and token.name in _NAMES:
            parts += [statement.text[position : token.start], _NAMES[token.name]]
            position = token.end
        elif token.upper == "WHERE":
            own = "" if user.admin else f"startsWith(Settings['{TAG}'], {quoted(user.name + '/')}) AND "
            parts += [statement.text[position : token.end], f" {own}("]
            position = token.end
        elif token.upper in ("SYNC", "ASYNC", "TEST", "FORMAT"):
            end = min(end, index)
            sync = sync or (token.text if token.upper != "FORMAT" else "")
    last = max(statement.tokens[end - 1].end, position)
    return "".join([*parts, statement.text[position:last], ") ", sync])
