"""Separates a request's statement from its data."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from itertools import chain

from embedded.errors import QueryError
from embedded.sql.statement import Statement, parse

# The statement before the data is searched in this many bytes of the body, then in twice as many, and so on.
_HEAD = 1 << 16
_LONGEST = 1 << 26


def read_statement(parameters: Mapping[str, str], body: Iterator[bytes]) -> tuple[Statement, Iterable[bytes]]:
    """Returns the statement and the data behind it.

    A statement begins in `query` and continues in the body after a line break, unless `query` is an INSERT whose data are the body. Raises
    QueryError for anything but one statement.
    """
    text = parameters.get("query", "").encode(errors="surrogateescape")
    if text.strip():
        whole = _decoded(text)
        found = parse(whole, complete=True)
        if found is not None and found.data is not None:
            rest = whole[found.data :].encode(errors="surrogateescape")
            return found, chain([rest] if rest.strip() else [], body)
        text += b"\n"
    size = _HEAD
    for more in body:
        text += more
        if len(text) < size:
            continue
        found = parse(_decoded(text), complete=False)
        if found is not None:
            return _with_data(found, text, body)
        if len(text) > _LONGEST:
            raise QueryError(62, "Max query size exceeded: a statement without its data has at most 64 MiB")
        size = len(text) * 2
    found = parse(_decoded(text), complete=True)
    if found is None:
        raise QueryError(62, "Syntax error: the statement is not complete")
    return (found, ()) if found.data is None else _with_data(found, text, body)


def _with_data(found: Statement, text: bytes, body: Iterator[bytes]) -> tuple[Statement, Iterable[bytes]]:
    at = len(_decoded(text)[: found.data].encode(errors="surrogateescape"))
    return found, chain([text[at:]] if len(text) > at else [], body)


def _decoded(text: bytes) -> str:
    return text.decode(errors="surrogateescape")
