"""Figures of a query."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Figures:
    """Rows and bytes that a query read and wrote."""

    read_rows: int = 0
    read_bytes: int = 0
    written_rows: int = 0
    written_bytes: int = 0
    result_rows: int = 0
    result_bytes: int = 0
    total_rows_to_read: int = 0
