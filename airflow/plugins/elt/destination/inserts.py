"""How rows get into a table of `raw`, and which years it holds."""

from __future__ import annotations

from warehouse.client import Warehouse
from warehouse.errors import WarehouseRefusedError
from warehouse.quoting import quote

from elt.mapping import NARROW, WIDE, YearRange
from elt.sources.base import Stream

# One insert is one load: its rows must neither be merged with others' nor taken for a repetition of earlier ones, nor the
# first one for a header, a NULL must never turn into a default, and floats must come out as Postgres printed them.
_SETTINGS = {
    "async_insert": 0,
    "insert_deduplicate": 0,
    "input_format_null_as_default": 0,
    "input_format_allow_errors_num": 0,
    "input_format_tsv_empty_as_default": 0,
    "input_format_tsv_detect_header": 0,
    "date_time_input_format": "basic",
    "precise_float_parsing": 1,
    # As Postgres prints them: any other spelling is looked for in a slower way.
    "bool_true_representation": "t",
    "bool_false_representation": "f",
    # Rows are counted as they were sent; only a merge may collapse those of one key.
    "optimize_on_insert": 0,
    # One thread parses twice as fast as one COPY sends; with another that cuts the text for it first, the same work
    # takes more of the processor that Postgres may need.
    "input_format_parallel_parsing": 0,
    # Small blocks (bytes) are written while the next are read, and little is left to do when the last row is there.
    # A table by day may be loaded with all of its days at once.
    "max_partitions_per_insert_block": 0,
    "input_format_max_block_size_bytes": 8_000_000,
    "min_insert_block_size_bytes": 25_000_000,
}

# And smaller ones where few are to come. Should they be many, merges begin after 100 parts, which is 100 MB.
_OF_FEW = {"input_format_max_block_size_bytes": 1_000_000, "min_insert_block_size_bytes": 1_000_000}


def insert_stream(warehouse: Warehouse, table: str, stream: Stream, *, writers: int = 1, few: bool = False) -> int:
    """Streams rows into `table` (quoted name), where `writers` threads sort and write what one parses.

    Where the rows are `few`, parts are smaller, so that the last of them is soon written. Returns the rows that
    ClickHouse says it wrote.
    """
    names = ", ".join(quote(column) for column in stream.columns)
    settings = _SETTINGS | {"max_insert_threads": writers} | (_OF_FEW if few else {})
    return warehouse.insert_stream(f"INSERT INTO {table} ({names}) FORMAT {stream.format}", stream.chunks(), settings)


def years_held(warehouse: Warehouse) -> YearRange:
    """Years that this server's Date32 and DateTime64 hold: servers before 26 move years outside 1900-2299 silently."""
    probe = (
        "SELECT toString(CAST('0001-01-01' AS Date32)), toString(CAST('9999-12-31' AS Date32)),"
        " toString(CAST('0001-01-01 00:00:00' AS DateTime64(6, 'UTC'))),"
        " toString(CAST('9999-12-31 23:59:59.999999' AS DateTime64(6, 'UTC')))"
    )
    kept = ("0001-01-01", "9999-12-31", "0001-01-01 00:00:00.000000", "9999-12-31 23:59:59.999999")
    try:
        return WIDE if warehouse.rows(probe) == [kept] else NARROW
    except WarehouseRefusedError:
        return NARROW
