"""Errors of the loader, beside those of the warehouse."""

from __future__ import annotations

from collections.abc import Sequence

from warehouse.errors import TerminalError, TransientError


class PipelineFileError(TerminalError):
    """pipeline.yml is invalid; the message lists all mistakes with their lines."""

    def __init__(self, path: str, mistakes: Sequence[str]) -> None:
        self.path = path
        self.mistakes = tuple(mistakes)
        count = "1 mistake" if len(mistakes) == 1 else f"{len(mistakes)} mistakes"
        super().__init__(f"{path} has {count}: " + "; ".join(mistakes))


class SourceRefusedError(TerminalError):
    """The source answers with a permanent error: a missing table, a missing right, a value that it cannot send."""

    def __init__(self, message: str, sqlstate: str | None = None) -> None:
        self.sqlstate = sqlstate
        super().__init__(message)


class SourceUnavailableError(TransientError):
    """The source does not answer, closed the connection, or is busy."""

    def __init__(self, message: str, sqlstate: str | None = None) -> None:
        self.sqlstate = sqlstate
        super().__init__(message)


class ValueRefusedError(TerminalError):
    """A value that the column's ClickHouse type cannot hold exactly, or that the source cannot send."""

    def __init__(self, table: str, column: str, key: str, value: str, because: str, cure: str = "") -> None:
        self.table = table
        self.column = column
        self.key = key
        self.value = value
        super().__init__(
            f"{table}.{column} cannot be copied: the row {key} holds {value}, {because}; correct the row, or "
            + (cure or f'give the column another type in pipeline.yml, as in types: {{"{column}": String}}')
        )


class CountMismatchError(TransientError):
    """The numbers of rows sent, written and present differ; the table is not published."""

    def __init__(self, table: str, sent: int, written: int, present: int) -> None:
        self.table = table
        self.sent = sent
        self.written = written
        self.present = present
        super().__init__(
            f"{table}: the source sent {sent} rows, ClickHouse says it wrote {written} and holds {present}; "
            "nothing was published, run the load again"
        )


class VerificationError(TerminalError):
    """The loaded rows, or the published rows that they extend, differ from the source at the run's snapshot."""

    def __init__(self, table: str, difference: str, cure: str) -> None:
        self.table = table
        super().__init__(f"{table} is not as the source has it: {difference}; nothing was published, {cure}")


class NotInRunError(TerminalError):
    """The run does not include this table: other tables were requested, or pipeline.yml has changed since the plan."""

    def __init__(self, run: int, target: str, tables: Sequence[str]) -> None:
        self.run = run
        self.target = target
        super().__init__(
            f"Run {run} does not copy {target}, it copies {', '.join(tables)}; "
            "python -m elt plan writes the list of tables anew, and the next run follows it"
        )


class SnapshotGoneError(TerminalError):
    """The run's shared snapshot is no longer held."""

    def __init__(self, snapshot: str) -> None:
        self.snapshot = snapshot
        super().__init__(
            f"The snapshot {snapshot} of this run is gone, since the session that held it has ended; "
            "nothing was published, start the whole run again"
        )
