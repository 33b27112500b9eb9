"""Names on both sides: how they are quoted, and what a source table is called in the warehouse."""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass

from warehouse.quoting import qualified

LOADING = re.compile(r"__loading_(?P<run>\d{16})_(?P<try>\d+)(?:_[0-9a-f]+)?$")
"""Suffix of the table's name in a loading table: the run, the attempt, and the publisher's own mark."""

_PART = r'(?:"(?P<{q}>(?:[^"]|"")+)"|(?P<{p}>[^."]+))'
_QUALIFIED = re.compile("^" + _PART.format(q="qs", p="s") + r"\." + _PART.format(q="qt", p="t") + "$")

# ClickHouse keeps a table's name in a file name of at most 255 bytes, beside the database and a UUID.
_LONGEST_TARGET = 190
_LONGEST_STEM = 120


@dataclass(frozen=True, order=True)
class TableName:
    """A table of the source, spelled as in its catalogue (no folding of case)."""

    schema: str
    table: str

    @classmethod
    def parse(cls, text: str) -> TableName:
        """From `schema.table`; a part that holds a dot or a quote is written as a quoted identifier. Raises ValueError."""
        match = _QUALIFIED.match(text)
        if match is None:
            raise ValueError(f"{text!r} is not a table name; write schema.table, as in public.orders")
        schema = match["s"] if match["s"] is not None else match["qs"].replace('""', '"')
        table = match["t"] if match["t"] is not None else match["qt"].replace('""', '"')
        return cls(schema, table)

    def __str__(self) -> str:
        return f"{_plain(self.schema)}.{_plain(self.table)}"

    def matches(self, name: TableName) -> bool:
        """Whether `name` fits this one as a pattern, in which `*` stands for any characters."""
        pairs = ((self.schema, name.schema), (self.table, name.table))
        return all(re.fullmatch(re.escape(pattern).replace(r"\*", ".*"), part, re.DOTALL) for pattern, part in pairs)

    @property
    def sql(self) -> str:
        """Quoted for Postgres."""
        return f"{quote_postgres(self.schema)}.{quote_postgres(self.table)}"

    @property
    def target(self) -> str:
        """Its name in `raw`: the table's own for schema public, else schema__table."""
        return self.table if self.schema == "public" else f"{self.schema}__{self.table}"


def _plain(part: str) -> str:
    return quote_postgres(part) if "." in part or '"' in part else part


def quote_postgres(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'


def raw(table: str) -> str:
    """The table of database `raw`, quoted for ClickHouse."""
    return qualified("raw", table)


def loading_table(target: str, run: int, attempt: int) -> str:
    """Where an attempt of a run loads a target: nobody else writes there."""
    return f"{_stem(target)}__loading_{run}_{attempt}"


def publisher_table(loading: str, mark: str) -> str:
    """The name that only the publisher that chose `mark` (hex digits) knows; it takes the place of any earlier mark."""
    return f"{unmarked(loading)}_{mark}"


def unmarked(name: str) -> str:
    """A loading table's name as its attempt gave it, without the mark of a publisher; any other name as it is."""
    return LOADING.sub(r"__loading_\g<run>_\g<try>", name)


def run_of_loading_table(name: str) -> int | None:
    """The run that a table of `raw` belongs to as a loading table; None for any other table."""
    match = LOADING.search(name)
    return int(match["run"]) if match else None


def target_problem(target: str) -> str | None:
    """Why `target` cannot be a table of `raw`, or None."""
    if run_of_loading_table(target) is not None:
        return "has the name of a loading table"
    if _file_name_length(target) > _LONGEST_TARGET:
        return "is longer than ClickHouse takes; give the table a shorter name with target:"
    return None


def _file_name_length(name: str) -> int:
    return sum(1 if byte < 128 and (chr(byte).isalnum() or byte == 95) else 3 for byte in name.encode())


def _stem(target: str) -> str:
    if _file_name_length(target) <= _LONGEST_STEM:
        return target
    short = target
    while _file_name_length(short) > _LONGEST_STEM - 11:
        short = short[:-1]
    return f"{short}_{hashlib.sha256(target.encode()).hexdigest()[:10]}"
