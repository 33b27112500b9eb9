"""Data into tables, as they come from the client, in constant memory: the engine reads them from a pipe.

chDB's own insert stream is not used: it reports rows as written that a DEFAULT, a CONSTRAINT, a limit of partitions or a
full disk has refused. Through the pipe an INSERT is a statement like any other, and fails like one.
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
"""How often a query is looked at that takes no more, or for which nothing comes."""


def insert(
    connection: Connection,
    runner: Runner,
    statement: Statement,
    data: Iterable[bytes | Unread],
    bound: Mapping[str, str],
    kill: Callable[[], bool],
) -> Figures:
    """Run an INSERT with its data. When this returns, the rows are on disk; when it raises, the engine has been told.

    `kill` asks the engine to stop the query and says whether it knew it.
    """
    reader, writer = pipe()
    try:
        text = _from_pipe(statement, f"/dev/fd/{reader}")
        future = runner.submit(lambda: connection.run(text, parameters=bound)[1])
        try:
            _feed(writer, data, future)
        except BaseException:
            # Before the pipe ends, or the engine would take what came for all of the data.
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
    """Write the data while the query runs; a query that ended by an error reads no more."""
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
