"""Splits SQL into ClickHouse's tokens, as far as needed to find the bounds of statements, strings, names and comments."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

from embedded.errors import QueryError

# Mirrors src/Parsers/Lexer.cpp of ClickHouse, including curly quotes and heredocs ($tag$..$tag$). It also refuses the
# engine's unrecognized tokens: a token that only one of the two sees could hide a statement from the access checks.
_TOKEN = re.compile(
    r"""
      (?P<space>[ \t\n\r\f\v\u00a0\u1680\u180e\u2000-\u200d\u2028\u2029\u202f\u205f\u2060\u3000\ufeff]+)
    | (?P<comment>--[^\n]*|//[^\n]*|\#[ !][^\n]*|/\*)
    | (?P<heredoc>\$[A-Za-z0-9_]*\$)
    | (?P<string>'(?:[^'\\]|\\.|'')*'|\u2018[^\u2019]*\u2019)
    | (?P<quoted>`(?:[^`\\]|\\.|``)*`|"(?:[^"\\]|\\.|"")*"|\u201c[^\u201d]*\u201d)
    | (?P<number>[0-9](?:[A-Za-z0-9_]|(?<=[eEpP])[+-](?=[0-9])|\.(?=[0-9]))*|\.[0-9][A-Za-z0-9_]*)
    | (?P<word>[A-Za-z_$][A-Za-z0-9_$]*)
    | (?P<symbol>->|::|<=>|<=|>=|!=|<>|==|\|\||[-+*/%(){}\[\],.;:?<>=!^~|&@\u2212\\])
    | (?P<open>['`"\u2018\u201c])
    | (?P<unknown>.)
    """,
    re.VERBOSE | re.DOTALL,
)
_ESCAPE = re.compile(r"\\x([0-9a-fA-F]{2})|\\(.)|(['\"`])\3", re.DOTALL)
_ESCAPED = {
    "b": "\b",
    "f": "\f",
    "n": "\n",
    "r": "\r",
    "t": "\t",
    "0": "\0",
    "a": "\a",
    "v": "\v",
    "e": "\x1b",
    "N": "",
}
_NESTS = {"(": 1, "[": 1, "{": 1, ")": -1, "]": -1, "}": -1}
_DOLLAR_NAME = re.compile(r"\$[A-Za-z0-9_$]+")
_COMMENT_EDGE = re.compile(r"/\*|\*/")


def _unescaped(found: re.Match[str]) -> str:
    if found.group(1):
        return chr(int(found.group(1), 16))
    return _ESCAPED.get(found.group(2), found.group(2)) if found.group(2) else found.group(3)


@dataclass(frozen=True, slots=True)
class Token:
    """`kind` is word, quoted, string, number or symbol; `start` and `end` are offsets into the text."""

    kind: str
    text: str
    start: int
    end: int

    @property
    def upper(self) -> str:
        """The token in upper case if it is a bare word or a symbol, else ""."""
        return self.text.upper() if self.kind in ("word", "symbol") else ""

    @property
    def nests(self) -> int:
        """Change of nesting by a bracket; 0 for anything else."""
        return _NESTS.get(self.text, 0)

    @property
    def name(self) -> str:
        """The identifier or literal without its quotes and escapes."""
        if self.kind == "string" and self.text.startswith("$"):
            size = self.text.index("$", 1) + 1
            return self.text[size:-size]
        if self.kind in ("quoted", "string"):
            return _ESCAPE.sub(_unescaped, self.text[1:-1])
        return self.text


class Unfinished(QueryError):  # noqa: N818 - it is an error only when no more text can follow
    """The text ends inside a string, a quoted name or a comment."""

    def __init__(self, start: int) -> None:
        super().__init__(62, f"Syntax error: a quote or comment that begins at position {start + 1} is never closed")


def tokens(text: str, *, complete: bool = True) -> Iterator[Token]:
    """Tokens without white space and comments. Raises Unfinished at an open quote or comment.

    `$x$` begins a heredoc if it comes again, and is a name if it does not; unless the text is `complete`, it still may.
    """
    position, length = 0, len(text)
    while position < length:
        found = _TOKEN.match(text, position)
        if found is None:  # the last alternative matches any character
            raise QueryError(62, f"Syntax error: nothing can be read at position {position + 1}")
        kind, start, position = str(found.lastgroup), found.start(), found.end()
        if kind == "comment" and found.group() == "/*":
            position = _comment_end(text, position, start)
        elif kind == "heredoc":
            end = text.find(found.group(), position)
            if end < 0 and not complete:
                raise Unfinished(start)
            if end < 0:
                position = _name_end(text, start)
                yield Token("word", text[start:position], start, position)
                continue
            position = end + len(found.group())
            yield Token("string", text[start:position], start, position)
        elif kind == "open":
            raise Unfinished(start)
        elif kind == "unknown":
            raise QueryError(
                62, f"Syntax error: Unrecognized token: failed at position {start + 1} ({found.group()!a})"
            )
        elif kind not in ("space", "comment"):
            yield Token(kind, found.group(), start, position)


def _name_end(text: str, start: int) -> int:
    """Returns the end of a name that begins with a dollar sign; a dollar sign before another one is a token of its own."""
    if text.startswith("$$", start):
        return start + 1
    found = _DOLLAR_NAME.match(text, start)
    return start + 1 if found is None else found.end()


def _comment_end(text: str, position: int, start: int) -> int:
    depth = 1  # ClickHouse nests block comments
    while depth:
        edge = _COMMENT_EDGE.search(text, position)
        if edge is None:
            raise Unfinished(start)
        depth += 1 if edge.group() == "/*" else -1
        position = edge.end()
    return position
