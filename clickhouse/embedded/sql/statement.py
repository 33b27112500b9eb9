"""Finds a statement's kind, the start of its data and its output format: from tokens, never from text."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from embedded.errors import QueryError
from embedded.sql.lexer import Token, Unfinished, tokens

# Statements whose parser accepts INTO OUTFILE and FORMAT, so that the engine can stream their result.
_WITH_OUTPUT = {"SELECT", "WITH", "(", "SHOW", "DESCRIBE", "DESC", "EXISTS", "EXPLAIN", "FROM", "CHECK"}
# Exceptions: the first accepts no INTO OUTFILE, and the second reads it as a part of the explained query.
_BUT = (["CHECK", "GRANT"], ["EXPLAIN", "AST"])
# This much text must follow a FORMAT clause before it counts as data; less could be the beginning of SETTINGS.
_MARGIN = 4096
# A word FORMAT after one of these is a name, not the clause.
_BEFORE_NAME = frozenset(
    """SELECT FROM JOIN AS BY WHERE PREWHERE HAVING QUALIFY AND OR NOT IN LIKE ILIKE ON USING WHEN THEN ELSE CASE
    INTO DISTINCT BETWEEN INTERVAL
    . , ( [ = == != <> < > <= >= + - / % || -> :: ? :""".split()  # noqa: SIM905 - readable as it is
)
# And after one of these at the beginning of a statement; elsewhere they are names themselves (GROUP BY database FORMAT CSV).
_KINDS = frozenset(["TABLE", "VIEW", "DATABASE", "DICTIONARY"])
_BEFORE_KIND = frozenset(["SHOW", "CREATE", "TEMPORARY", "EXISTS", "CHECK"])
_BEFORE_TABLE = _BEFORE_KIND | {"DESCRIBE", "DESC"}


@dataclass(frozen=True)
class Statement:
    """One statement without its data and without text after its last token.

    `kind` is `output` (streams a result), `insert` (data follow), `input` (INSERT .. SELECT .. FROM input(), data follow) or `other`. `format` is
    the format named in the text. `data` is the offset of the data behind the statement.
    """

    text: str
    tokens: tuple[Token, ...]
    kind: str
    format: str | None = None
    format_at: int | None = None
    data: int | None = None

    @property
    def verb(self) -> str:
        return self.tokens[0].upper

    def words(self, *wanted: str, start: int = 0) -> bool:
        """Whether the tokens at `start` are these keywords."""
        found = self.tokens[start : start + len(wanted)]
        return len(found) == len(wanted) and all(token.upper == word for token, word in zip(found, wanted, strict=True))

    def into_outfile(self, descriptor: int, default_format: str) -> str:
        """Returns the statement with its result directed to a descriptor of this process; `shown` removes the addition again."""
        if self.format_at is None:
            return f"{self.text} INTO OUTFILE '/proc/self/fd/{descriptor}' TRUNCATE FORMAT {default_format}"
        into = f" INTO OUTFILE '/dev/fd/{descriptor}' TRUNCATE "
        return f"{self.text[: self.format_at]}{into}{self.text[self.format_at :]}"


def parse(text: str, *, complete: bool) -> Statement | None:
    """Parses the statement in `text`; returns None if more text must be read first (never if `complete`).

    Raises QueryError for an empty text, an open quote or several statements.
    """
    seen: list[Token] = []
    try:
        insert = _insert(text, seen, complete)
        if insert is not None or not complete:
            return insert
        return _whole(text, tuple(tokens(text)))
    except Unfinished:
        if complete:
            raise
        return None


def _insert(text: str, seen: list[Token], complete: bool) -> Statement | None:
    """Parses an INSERT whose data follow in the text, without reading the data."""
    stream = tokens(text, complete=complete)
    first = next(stream, None)
    if first is None or first.upper not in ("INSERT", "WITH"):
        return None
    seen.append(first)
    if first.upper == "WITH" and not _reaches_insert(stream, seen):
        return None
    for token in _after_target(stream, seen):
        if token.upper == "VALUES":
            return Statement(text[: seen[-1].start], tuple(seen[:-1]), "insert", "Values", data=token.end)
        if token.upper == "FORMAT":
            name = next(stream, None)
            if name is None:
                return None
            seen.append(name)
            settings, data = _settings_after(text, name.end)
            if not complete and data + _MARGIN > len(text):
                return None
            head = text[: token.start]
            if settings:
                head = _with_settings(head, seen, settings)
            return Statement(head, tuple(tokens(head)), "insert", name.name, token.start, data)
        if token.upper in ("SELECT", "WITH", "(", "FROM", "WATCH"):
            return _insert_select(text, stream, seen, complete)
    if not complete:
        return None
    return Statement(text[: seen[-1].end], tuple(seen), "insert", "Values", data=len(text))


def _reaches_insert(stream: Iterator[Token], seen: list[Token]) -> bool:
    """Whether INSERT INTO follows the WITH clause; appends the tokens before to `seen`."""
    depth = 0
    for token in stream:
        seen.append(token)
        depth += token.nests
        if depth == 0 and token.upper == "INTO" and seen[-2].upper == "INSERT":
            return True
    return False


def _after_target(stream: Iterator[Token], seen: list[Token]) -> Iterator[Token]:
    """Yields the tokens after an INSERT's target and columns; also appends each to `seen`."""
    depth, name_ended, want_name = 0, False, True
    for token in stream:
        seen.append(token)
        if token.text == "(" and not name_ended:
            name_ended = True
        depth += token.nests
        if depth or token.text == ")":
            if token.text == "(" and depth == 1 and not _may_be_columns(seen):
                yield token
            continue
        if want_name:
            if token.upper not in ("INTO", "TABLE", "FUNCTION"):
                want_name = False
            continue
        if token.text == "." and not name_ended:
            want_name = True
            continue
        name_ended = True
        yield token


def _may_be_columns(seen: list[Token]) -> bool:
    """Whether the parenthesis just seen follows the target's name, and not a clause or the columns."""
    return seen[-2].text != ")" and seen[-2].upper not in ("SETTINGS", "BY")


def _settings_after(text: str, position: int) -> tuple[str, int]:
    """Returns the SETTINGS clause after `FORMAT x`, and the offset of the data."""
    found = re.compile(r"\s+SETTINGS\s+(?=\w+\s*=)", re.IGNORECASE).match(text, position)
    clause = ""
    if found:
        end = found.end()
        stream = tokens(text[end:])
        while True:
            parts = [next(stream, None) for _ in range(3)]
            last = parts[2]
            if last is None:
                break
            position = end + last.end
            comma = re.compile(r"\s*,").match(text, position)
            if comma is None:
                break
            next(stream)
        clause = text[found.end() : position]
    while position < len(text) and text[position] in " \t\f;":
        position += 1
    if text.startswith("\r", position):
        position += 1
    if text.startswith("\n", position):
        position += 1
    return clause, position


def _with_settings(head: str, seen: list[Token], settings: str) -> str:
    if any(token.upper == "SETTINGS" for token in seen):
        return f"{head.rstrip()}, {settings} "
    return f"{head} SETTINGS {settings} "


def _insert_select(text: str, stream: Iterator[Token], seen: list[Token], complete: bool) -> Statement | None:
    """Parses INSERT .. SELECT .. FROM input(..) FORMAT x, whose data follow; returns None for any other INSERT .. SELECT."""
    uses_input = False
    previous = seen[-1]
    for token in stream:
        seen.append(token)
        if token.text == "(" and previous.upper == "INPUT":
            uses_input = True
        if token.upper == "FORMAT" and uses_input and not _name_follows(seen[:-1]):
            name = next(stream, None)
            if name is not None and name.kind in ("word", "quoted"):
                _, data = _settings_after(text, name.end)
                if not complete and data + _MARGIN > len(text):
                    return None
                return Statement(text[: token.start], tuple(seen[:-1]), "input", name.name, token.start, data)
        previous = token
    return None


def _whole(text: str, found: tuple[Token, ...]) -> Statement:
    """Returns a statement that is the whole text."""
    end = len(found)
    while end and found[end - 1].text == ";" and found[end - 1].kind == "symbol":
        end -= 1
    found = found[:end]
    if not found:
        raise QueryError(62, "Syntax error: Empty query")
    if any(token.text == ";" and token.kind == "symbol" for token in found):
        raise QueryError(62, "Syntax error (Multi-statements are not allowed): send one statement in a request")
    text = text[: found[-1].end]
    inserts = found[0].upper == "WITH" and _reaches_insert(iter(found[1:]), [found[0]])
    if found[0].upper not in _WITH_OUTPUT or [token.upper for token in found[:2]] in _BUT or inserts:
        at = _format_clause(found) if found[0].upper == "KILL" else None
        return Statement(text, found, "other", None if at is None else found[at + 1].name)
    at = _format_clause(found)
    if at is None:
        return Statement(text, found, "output")
    return Statement(text, found, "output", found[at + 1].name, found[at].start)


def _format_clause(found: tuple[Token, ...]) -> int | None:
    """Returns the index of the FORMAT clause: the last clause, or followed by SETTINGS only."""
    depth = 0
    for index in range(len(found) - 1, 0, -1):
        token = found[index]
        depth -= token.nests
        if depth or token.upper != "FORMAT" or index + 1 >= len(found):
            continue
        after = found[index + 2 : index + 3]
        if found[index + 1].kind not in ("word", "quoted") or (after and after[0].upper != "SETTINGS"):
            continue
        if not _name_follows(found[:index]):
            return index
    return None


def _name_follows(before: Sequence[Token]) -> bool:
    """Whether a word after these tokens is a name, whatever it says."""
    last = before[-1].upper
    begins = _BEFORE_TABLE if last == "TABLE" else _BEFORE_KIND
    return last in _BEFORE_NAME or (last in _KINDS and all(token.upper in begins for token in before[:-1]))
