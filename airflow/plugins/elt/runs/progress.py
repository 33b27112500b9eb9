"""Progress and results of loads and publishes."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Progress:
    """How far a load is. Rows are estimated from the bytes until the load ends."""

    target: str
    rows: int
    bytes: int
    seconds: float
    estimated_rows: int | None
    """Rows that the planner of the source expects the table to have; None where it does not know."""

    @property
    def rows_per_second(self) -> float:
        return self.rows / self.seconds if self.seconds > 0 else 0.0

    @property
    def share(self) -> float | None:
        """Done, from 0 to 1; None where nobody knows the whole."""
        if not self.estimated_rows:
            return None
        return min(self.rows / self.estimated_rows, 1.0)

    def __str__(self) -> str:
        of = "" if self.share is None else f", {self.share:.0%} of about {self.estimated_rows:,}"
        return f"{self.target}: {self.rows:,} rows, {self.bytes / 1e6:,.1f} MB, {self.rows_per_second:,.0f} rows/s{of}"


@dataclass(frozen=True)
class LoadResult:
    """A table that is loaded and counted, and not published yet."""

    target: str
    rows: int
    bytes: int
    seconds: float
    attempt: int
    loading_table: str
    snapshot: str
    mode: str
    """full, or incremental where `rows` are those that had changed."""
    note: str = ""
    """A sentence that a person should read; empty where there is none."""
    verified_columns: tuple[str, ...] = ()
    """Columns that are equal to the source's, value by value; empty where nobody looked."""
    not_verified: tuple[str, ...] = ()
    """Columns that could not be compared, each with the reason."""
    kept: str = ""
    """Why the load failed, where the table keeps what is published; empty where it is loaded."""


@dataclass(frozen=True)
class PublishedTable:
    target: str
    rows: int


@dataclass(frozen=True)
class PublishResult:
    run: int
    tables: tuple[PublishedTable, ...]
