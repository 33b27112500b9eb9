"""Data into tables, as they come from the client, in constant memory."""

from __future__ import annotations

import os
import select
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import Future

from embedded.engine import Connection, Figures, quoted
from embedded.errors import QueryError
from embedded.statement import Statement
from embedded.streaming import Runner

_LONGEST_VALUES = 1 << 26


def insert(connection: Connection, statement: Statement, data: Iterable[bytes], bound: Mapping[str, str]) -> Figures:
    """Run an INSERT with its data. When this returns, the rows are on disk."""
    if bound and statement.format == "Values":
        return _insert_bound(connection, statement, data, bound)
    connection.begin_insert(statement.text, statement.format or "Values")
    try:
        for chunk in data:
            connection.append(chunk)
        return connection.finish_insert()
    except BaseException:
        connection.cancel_insert()
        raise


def _insert_bound(
    connection: Connection, statement: Statement, data: Iterable[bytes], bound: Mapping[str, str]
) -> Figures:
    """VALUES with {name:Type} in them: the engine's insert stream takes no parameters, a whole statement does."""
    values = b""
    for chunk in data:
        values += chunk
        if len(values) > _LONGEST_VALUES:
            raise QueryError(36, "VALUES with parameters are longer than 64 MiB: send the data in another format")
    text = values.decode(errors="surrogateescape")
    return connection.run(f"{statement.text} VALUES {text}", parameters=bound)[1]


def insert_from_input(
    connection: Connection,
    runner: Runner,
    statement: Statement,
    data: Iterable[bytes],
    bound: Mapping[str, str],
    cancel: Callable[[], None],
) -> Figures:
    """INSERT .. SELECT .. FROM input('..') FORMAT x: the engine has no input(), but reads a pipe as a file."""
    reader, writer = os.pipe()
    try:
        future = runner.submit(lambda: connection.run(_from_pipe(statement, reader), parameters=bound)[1])
        try:
            _feed(writer, data, future)
        except BaseException:
            cancel()  # before the pipe ends, so that the cut data are not taken for all of them
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


def _from_pipe(statement: Statement, reader: int) -> str:
    for token, after in zip(statement.tokens, statement.tokens[1:], strict=False):
        if token.upper == "INPUT" and after.text == "(":
            rest = statement.text[after.end :]
            comma = "" if rest.lstrip().startswith(")") else ", "
            source = f"file('/dev/fd/{reader}', {quoted(statement.format or 'TabSeparated')}{comma}"
            return statement.text[: token.start] + source + rest
    raise QueryError(36, "input() needs its structure: input('column Type, ..')")


def _feed(writer: int, data: Iterable[bytes], future: Future[Figures]) -> None:
    """Write the data while the query runs; a query that ended by an error reads no more."""
    os.set_blocking(writer, False)
    poll = select.poll()
    poll.register(writer, select.POLLOUT)
    for chunk in data:
        left = memoryview(chunk)
        while left:
            if future.done():
                return
            if poll.poll(200):
                left = left[os.write(writer, left) :]
