"""Shows queries with the client's text, id and user instead of the engine's.

The engine writes results INTO OUTFILE, reads data FROM INFILE, generates query ids and has one user. Therefore queries of system.processes,
system.query_log and SHOW PROCESSLIST read views with the client's values.
"""

from __future__ import annotations

import re
from dataclasses import replace

from embedded.engine.engine import OWN, TAG, Engine
from embedded.sql.lexer import Token, tokens
from embedded.sql.statement import Statement

_SCHEMA = "information_schema"  # every role may read it; a view needs its reader's rights on its tables
_TABLES = ("processes", "query_log")
# Additions in the engine's text, and the client's text instead.
_OURS = (
    (r" INTO OUTFILE '/proc/self/fd/[0-9]+' TRUNCATE FORMAT [A-Za-z0-9_]+", ""),
    (r" INTO OUTFILE '/dev/fd/[0-9]+' TRUNCATE ", ""),
    (r"FROM INFILE '/dev/fd/[0-9]+' ((?s:.*))FORMAT Values$", r"\1VALUES"),
    (r"FROM INFILE '/dev/fd/[0-9]+' ", ""),
    (r"file\('/dev/fd/[0-9]+', '([A-Za-z0-9_]+)'(?:, )?((?s:.*?))\s*$", r"input(\2 FORMAT \1"),
    (rf"{_SCHEMA}\.({'|'.join(_TABLES)})", r"system.\1"),
)
# In a syntax error the engine's addition begins where the client's text continues or ends.
_IN_ERRORS = (
    (r"\((?:INTO|FROM)\): (?:INTO OUTFILE|FROM INFILE) '/dev/fd/[0-9]+'(?: TRUNCATE)? FORMAT", "(FORMAT): FORMAT"),
    *_OURS,
)


# Or the client's text ends so early that the engine has read some of the addition.
_BEHIND_THE_END = re.compile(
    r"failed at position [0-9]+ \((?:INTO|OUTFILE|'/proc/self/fd/[0-9]+'|TRUNCATE)\): "
    r"(?:INTO )?(?:OUTFILE )?(?:'/proc/self/fd/[0-9]+' )?(?:TRUNCATE )?FORMAT [A-Za-z0-9_]+"
)


def up_to_the_end(text: str, end: int) -> str:
    """Returns an error's sentence, limited to the client's statement of `end` bytes."""
    return _BEHIND_THE_END.sub(f"failed at position {end + 1} (end of query): ", text)


def clients_text(text: str) -> str:
    """Returns an error's sentence without the engine's additions."""
    for ours, theirs in _IN_ERRORS:
        text = re.sub(ours, theirs, text)
    return text


def _literal(text: str) -> str:
    escaped = text.replace("\\", "\\\\").replace("'", "\\'")
    return f"'{escaped}'"


def query_sql() -> str:
    """Returns an SQL expression on `query` for the client's text."""
    sql = "query"
    for ours, theirs in _OURS:
        sql = f"replaceRegexpAll({sql}, {_literal(ours)}, {_literal(theirs)})"
    return sql


def id_sql(column: str = "query_id") -> str:
    """Returns an SQL expression for the client's query id; the engine's id for queries of no client."""
    return f"if(mapContains(Settings, '{TAG}'), extract(Settings['{TAG}'], '^[^/]*/((?s:.*))$'), {column})"


def user_sql() -> str:
    return f"if(mapContains(Settings, '{TAG}'), extract(Settings['{TAG}'], '^[^/]*'), user)"


def create_views(engine: Engine) -> None:
    """Creates the views; the engine does not keep them across starts."""
    engine.ask("SYSTEM FLUSH LOGS query_log")  # makes the table
    changes = (
        f"{query_sql()} AS query, {id_sql()} AS query_id, {id_sql('initial_query_id')} AS initial_query_id,"
        f" {user_sql()} AS user, {user_sql()} AS initial_user, mapFilter((name, _) -> name != '{TAG}', Settings) AS Settings"
    )
    for table in _TABLES:
        engine.ask(
            f"CREATE VIEW {_SCHEMA}.{table} SQL SECURITY INVOKER AS SELECT * REPLACE ({changes}) FROM system.{table}"
            f" WHERE NOT startsWith(query, {_literal(OWN)})"
        )


def for_people(statement: Statement, database: str) -> Statement:
    """Returns the statement with the views instead of the tables."""
    found = statement.tokens
    if statement.kind != "output":
        return statement
    if statement.words("SHOW", "PROCESSLIST") or statement.words("SHOW", "FULL", "PROCESSLIST"):
        end = found[1].end if found[1].upper == "PROCESSLIST" else found[2].end
        return _changed(statement, [(found[0].start, end, f"SELECT * FROM {_SCHEMA}.processes ORDER BY elapsed DESC")])
    if statement.verb not in ("SELECT", "WITH", "FROM", "("):
        return statement
    changes = []
    for index, token in enumerate(found):
        if token.kind not in ("word", "quoted") or token.name not in _TABLES:
            continue
        if index > 1 and found[index - 1].text == "." and found[index - 2].name == "system":
            if index == 2 or found[index - 3].text != ".":
                changes.append((found[index - 2].start, token.end, f"{_SCHEMA}.{token.name}"))
        elif database == "system" and index and _names_a_table(found[index - 1], found[index + 1 : index + 2]):
            changes.append((token.start, token.end, f"{_SCHEMA}.{token.name}"))
    return _changed(statement, changes) if changes else statement


def _names_a_table(before: Token, after: tuple[Token, ...]) -> bool:
    return before.upper in ("FROM", "JOIN") and not (after and after[0].text in (".", "("))


def _changed(statement: Statement, changes: list[tuple[int, int, str]]) -> Statement:
    """Returns the statement with parts of its text replaced; the changes are in order."""
    parts, position, moved = [], 0, 0
    for start, end, text in changes:
        parts += [statement.text[position:start], text]
        position = end
        if statement.format_at is not None and end <= statement.format_at:
            moved += len(text) - (end - start)
    text = "".join([*parts, statement.text[position:]])
    at = None if statement.format_at is None else statement.format_at + moved
    return replace(statement, text=text, tokens=tuple(tokens(text)), format_at=at)
