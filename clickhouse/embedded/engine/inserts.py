"""Streams inserted data into tables in constant memory: the engine reads them from a pipe.

It does not use chDB's insert stream, which reports rows as written that a DEFAULT, a CONSTRAINT, a limit of partitions or a full disk has
refused. By the pipe an INSERT is an ordinary statement, and its errors are too.
"""

from __future__ import annotations

import os
import select
import time
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import Future
from itertools import pairwise

from embedded.engine.engine import Connection, quoted
from embedded.engine.streaming import Runner, pipe
from embedded.errors import QueryError
from embedded.figures import Figures
from embedded.http.request import Unread
from embedded.sql.statement import Statement

_LOOK_SECONDS = 0.2
"""Interval at which a query is checked that reads nothing, or for which no data arrive."""


def insert(
    connection: Connection,
    runner: Runner,
    statement: Statement,
    data: Iterable[bytes | Unread],
    bound: Mapping[str, str],
    kill: Callable[[], bool],
) -> Figures:
    """Runs an INSERT with its data. When it returns, the rows are on disk; when it raises, the query has been killed.

    `kill` asks the engine to stop the query and returns whether the engine knew it.
    """
    reader, writer = pipe()
    try:
        text = _from_pipe(statement, f"/dev/fd/{reader}")
        future = runner.submit(lambda: connection.run(text, parameters=bound)[1])
        try:
            _feed(writer, data, future)
        except BaseException:
            # Kill before closing the pipe: otherwise the engine would take the partial data as complete.
            while not future.done() and not kill():
                time.sleep(0.005)
            raise
        finally:
            os.close(writer)
            writer = -1
            future.exception()
        return future.result()
    finally:
        if writer >= 0:
            os.close(writer)
        os.close(reader)


def _from_pipe(statement: Statement, path: str) -> str:
    text, found, data_format = statement.text, statement.tokens, statement.format or "Values"
    if statement.kind == "insert":
        at, depth = len(text), 0
        for index, token in enumerate(found):
            depth += token.nests
            if (
                depth == 0
                and token.upper == "SETTINGS"
                and [after.text for after in found[index + 2 : index + 3]] == ["="]
            ):
                at = token.start
                break
        head, tail = (part if part[-1:].isspace() or not part else f"{part} " for part in (text[:at], text[at:]))
        return f"{head}FROM INFILE {quoted(path)} {tail}FORMAT {data_format}"
    for token, after in pairwise(found):
        if token.upper == "INPUT" and after.text == "(":  # the engine has no input(), but reads a pipe as a file
            rest = text[after.end :]
            comma = "" if rest.lstrip().startswith(")") else ", "
            return f"{text[: token.start]}file({quoted(path)}, {quoted(data_format)}{comma}{rest}"
    raise QueryError(36, "input() needs its structure: input('column Type, ..')")


def _feed(writer: int, data: Iterable[bytes | Unread], future: Future[Figures]) -> None:
    """Writes the data while the query runs; stops when the query has failed."""
    os.set_blocking(writer, False)
    poll = select.poll()
    poll.register(writer, select.POLLOUT)
    for chunk in data:
        left = chunk if isinstance(chunk, Unread) else memoryview(chunk)
        while left:
            if future.done():
                return
            if poll.poll(_LOOK_SECONDS * 1000):
                left = (
                    left.move_to(writer, _LOOK_SECONDS) if isinstance(left, Unread) else left[os.write(writer, left) :]
                )
