"""Access checks of the server itself: the engine, which knows one user only, would let these pass.

The engine checks rights on databases, tables, engines and sources (roles of users.xml). This module closes the ways around them that a real
server closes by other means.
"""

from __future__ import annotations

import re
from collections.abc import Container, Iterator

from embedded import interface
from embedded.errors import QueryError
from embedded.sql.definer import check_definer
from embedded.sql.lexer import Token
from embedded.sql.statement import Statement
from embedded.sql.unsupported import check_supported, engines
from embedded.users import User

# Settings that would give a request another user's rights or limits, or remove the mark of its query.
_RESERVED = {
    "profile",
    "role",
    "default_view_definer",
    "default_normal_view_sql_security",
    "default_materialized_view_sql_security",
    "send_logs_source_regexp",
}
# Functions that read files, run programs or open connections without any grant in the embedded engine.
_CLOSED = re.compile(
    r"file|eval|executable|executablepool|python|disk|catboostevaluate|ai(?:generate|filter|classify|embed|extract|redact|similarity|translate)",
    re.IGNORECASE,
)
# Objects of SYSTEM STOP and START. Without a table the engine silently skips tables on which the user has no right.
_ACTIONS = re.compile(
    r"(?:STOP|START) ((?:TTL )?MERGES|MOVES|FETCHES|CLEANUP|VIEWS|REPLICATED SENDS|DISTRIBUTED SENDS|REPLICATION QUEUES"
    r"|PULLING REPLICATION LOG)(?: ON .*)?"
)
_TAKES_FUNCTION = re.compile(r"(?:array|map)\w*", re.IGNORECASE)
# Table functions that the temporary grant for input() would allow.
_READS_FILES = re.compile(r"\w*(?:local|file|filesystem|flight)(?:cluster)?", re.IGNORECASE)


def check_setting(user: User, name: str, value: str) -> None:
    """Refuses a setting that a request must not contain, wherever it stands."""
    interface.check(name, value)
    name = name.lower()
    if name == "role" and value != user.role:
        raise QueryError(512, f"Role {value} should be granted to set as a current: each user has one fixed role")
    if name != "role" and name in _RESERVED and not user.admin:
        raise QueryError(497, f"{user.name}: setting {name} belongs to the server and cannot be changed by a request")


def check_statement(user: User, statement: Statement, table_engines: Container[str]) -> None:
    """Raises QueryError, with the cure, for statements that the engine would allow to everybody or cannot do.

    `table_engines` are the names of all engines.
    """
    check_supported(statement)
    for name, value, _ in assignments(statement):
        interface.check_in_sql(name)
        check_setting(user, name, value)
    if user.admin:
        return
    if statement.kind != "output":
        check_definer(user, statement)
    _check_functions(user, statement)
    if statement.verb in ("CREATE", "ATTACH", "REPLACE"):
        for name in engines(statement):  # the engine checks the grant for engines that reach out, but not for Merge
            if name in table_engines and name.lower() not in user.engines:
                raise QueryError(497, f"{user.name}: Not enough privileges: it needs the grant TABLE ENGINE ON {name}")


def right_to(statement: Statement) -> str | None:
    """Returns the right that a SYSTEM statement for all tables needs, if the engine itself does not check it."""
    words = " ".join(token.upper for token in statement.tokens[1:])
    if statement.verb == "SYSTEM" and words == "RESTART REPLICAS":
        return "SYSTEM RESTART REPLICA"
    found = _ACTIONS.fullmatch(words) if statement.verb == "SYSTEM" else None
    return found and f"SYSTEM {found.group(1)}"


def assignments(statement: Statement) -> Iterator[tuple[str, str, str]]:
    """Yields name, value and the value's text of each setting in SET and in every SETTINGS clause."""
    found = statement.tokens
    for index, token in enumerate(found):
        if token.upper == "SETTINGS" or (index == 0 and token.upper == "SET"):
            yield from _assignments(statement.text, found[index + 1 :])


def _assignments(text: str, found: tuple[Token, ...]) -> Iterator[tuple[str, str, str]]:
    depth, start = 0, True
    for index, token in enumerate(found):
        following = found[index + 1 : index + 3]
        if start and len(following) == 2 and following[0].text == "=":
            yield token.name, following[1].name, text[following[1].start : _value_end(found[index + 2 :])]
        depth += token.nests
        if depth < 0:
            return
        start = depth == 0 and token.text == ","


def _value_end(found: tuple[Token, ...]) -> int:
    """Returns the end of a value: its closing bracket, or its only token, or the token after its sign."""
    depth = 0
    for token in found:
        depth += token.nests
        if depth <= 0 and token.text not in ("-", "+"):
            return token.end
    return found[-1].end


def _check_functions(user: User, statement: Statement) -> None:
    """Refuses functions that are called, applied to columns, or passed to another function by name."""
    found = statement.tokens
    callers: list[bool] = []
    for index, token in enumerate(found):
        before, after = found[max(index - 2, 0) : index], found[index + 1 : index + 2]
        if token.kind == "symbol" and token.text == "(":
            callers.append(bool(before) and _TAKES_FUNCTION.fullmatch(before[-1].name) is not None)
        elif token.kind == "symbol" and token.text == ")" and callers:
            callers.pop()
        if token.kind not in ("word", "quoted"):
            continue
        if any(callers) and token.upper == "IDENTIFIER" and before and before[-1].text == ":":
            raise QueryError(
                497,
                f"{user.name}: an Identifier parameter inside array and map functions is refused: write the name itself",
            )
        called = bool(after) and after[0].text == "("
        lent = statement.kind == "input" and called and _READS_FILES.fullmatch(token.name)
        if not lent and not _CLOSED.fullmatch(token.name):
            continue
        if before and before[-1].text == ".":
            continue
        is_table = bool(before) and before[-1].upper in ("INTO", "TABLE", "EXISTS", "VIEW")
        applied = any(previous.upper == "APPLY" for previous in before)
        handed_over = any(callers) and not (after and after[0].text == ".")
        if lent or (called and not is_table) or applied or handed_over:
            raise QueryError(
                497,
                f"{user.name}: {token.name} is refused: files, programs and the network are closed to SQL."
                f" If {token.name} is a column, write table.{token.name}",
            )
