"""Queries as people see them: with the client's text, id and user, and not with those that the engine gets.

The engine writes an answer INTO OUTFILE and reads data FROM INFILE, names queries by itself and has one user. Who asks for
system.processes, system.query_log or SHOW PROCESSLIST reads views of the same names that put that right.
"""

from __future__ import annotations

import re
from dataclasses import replace

from embedded.engine.engine import OWN, TAG, Engine
from embedded.sql.lexer import Token, tokens
from embedded.sql.statement import Statement

_SCHEMA = "information_schema"  # which every role may read; the rights on what a view reads are its reader's
_TABLES = ("processes", "query_log")
# What stands in the engine's text and not in the client's, and what the client's has instead.
_OURS = (
    (r" INTO OUTFILE '/proc/self/fd/[0-9]+' TRUNCATE FORMAT [A-Za-z0-9_]+", ""),
    (r" INTO OUTFILE '/dev/fd/[0-9]+' TRUNCATE ", ""),
    (r"FROM INFILE '/dev/fd/[0-9]+' ((?s:.*))FORMAT Values$", r"\1VALUES"),
    (r"FROM INFILE '/dev/fd/[0-9]+' ", ""),
    (r"file\('/dev/fd/[0-9]+', '([A-Za-z0-9_]+)'(?:, )?((?s:.*?))\s*$", r"input(\2 FORMAT \1"),
    (rf"{_SCHEMA}\.({'|'.join(_TABLES)})", r"system.\1"),
)
# In the sentence of a syntax error the engine's text begins where the client's goes on or ends.
_IN_ERRORS = (
    (r"\((?:INTO|FROM)\): (?:INTO OUTFILE|FROM INFILE) '/dev/fd/[0-9]+'(?: TRUNCATE)? FORMAT", "(FORMAT): FORMAT"),
    *_OURS,
)


# Or it ends so early that the engine has read some of ours.
_BEHIND_THE_END = re.compile(
    r"failed at position [0-9]+ \((?:INTO|OUTFILE|'/proc/self/fd/[0-9]+'|TRUNCATE)\): "
    r"(?:INTO )?(?:OUTFILE )?(?:'/proc/self/fd/[0-9]+' )?(?:TRUNCATE )?FORMAT [A-Za-z0-9_]+"
)


def up_to_the_end(text: str, end: int) -> str:
    """A sentence on a statement of so many bytes, which stops at its end if the engine's went on."""
    return _BEHIND_THE_END.sub(f"failed at position {end + 1} (end of query): ", text)


def clients_text(text: str) -> str:
    """A sentence of the engine without what the client did not write."""
    for ours, theirs in _IN_ERRORS:
        text = re.sub(ours, theirs, text)
    return text


def _literal(text: str) -> str:
    escaped = text.replace("\\", "\\\\").replace("'", "\\'")
    return f"'{escaped}'"


def query_sql() -> str:
    """The client's text, as an expression on `query`."""
    sql = "query"
    for ours, theirs in _OURS:
        sql = f"replaceRegexpAll({sql}, {_literal(ours)}, {_literal(theirs)})"
    return sql


def id_sql(column: str = "query_id") -> str:
    """The client's id, or the engine's for what no client has asked."""
    return f"if(mapContains(Settings, '{TAG}'), extract(Settings['{TAG}'], '^[^/]*/((?s:.*))$'), {column})"


def user_sql() -> str:
    return f"if(mapContains(Settings, '{TAG}'), extract(Settings['{TAG}'], '^[^/]*'), user)"


def create_views(engine: Engine) -> None:
    """Make the views; the engine keeps none from one start to the next."""
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
    """The statement with the views in the place of the tables."""
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
    """The statement with parts of its text replaced, in the order of their places."""
    parts, position, moved = [], 0, 0
    for start, end, text in changes:
        parts += [statement.text[position:start], text]
        position = end
        if statement.format_at is not None and end <= statement.format_at:
            moved += len(text) - (end - start)
    text = "".join([*parts, statement.text[position:]])
    at = None if statement.format_at is None else statement.format_at + moved
    return replace(statement, text=text, tokens=tuple(tokens(text)), format_at=at)
