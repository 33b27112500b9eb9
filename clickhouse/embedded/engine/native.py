"""Native answers for a client's protocol version. The engine cannot be told one and writes them for none."""

from __future__ import annotations

import json
from collections.abc import Mapping

from embedded.engine.engine import Connection
from embedded.errors import QueryError
from embedded.sql.statement import Statement

# Versions of ClickHouse's Core/ProtocolDefines.h from which on its NativeWriter writes another column.
_ZONES = 54337
_LOW_CARDINALITY = 54405
_ALL_COLUMNS = 54452  # states of aggregate functions have a version, and from 54454 on each column has a byte more
# Statements that DESCRIBE takes; the others answer in plain types.
_DESCRIBED = {"SELECT", "WITH", "FROM", "("}


def check_version(connection: Connection, statement: Statement, parameters: Mapping[str, str], version: int) -> None:
    """Raises QueryError 48 where the columns of a Native answer would be others for this version."""
    if version >= _ALL_COLUMNS:
        raise _refusal(version, "the format Native")
    if version < _ZONES or statement.verb not in _DESCRIBED:
        return
    body, _ = connection.own(f"DESCRIBE ({_without_format(statement)}\n)", "JSONCompactEachRow", parameters)
    for line in body.splitlines():
        name, column_type = json.loads(line)[:2]
        if column_type.startswith("DateTime(") or ("LowCardinality(" in column_type and version >= _LOW_CARDINALITY):
            raise _refusal(version, f"the format Native with {name} {column_type}")


def _without_format(statement: Statement) -> str:
    if statement.format_at is None:
        return statement.text
    at = next(index for index, token in enumerate(statement.tokens) if token.start == statement.format_at)
    return statement.text[: statement.format_at] + statement.text[statement.tokens[at + 1].end :]


def _refusal(version: int, what: str) -> QueryError:
    return QueryError(
        48, f"client_protocol_version = {version} is not supported for {what}: leave it out or use another format"
    )
