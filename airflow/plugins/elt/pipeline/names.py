"""Names on both sides: quoting, and the names of source tables in the warehouse."""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass

from warehouse.quoting import qualified

LOADING = re.compile(r"__loading_(?P<run>\d{16})_(?P<try>\d+)(?:_[0-9a-f]+)?$")
"""Suffix of a loading table's name: run, attempt, and the publisher's mark."""

_PART = r'(?:"(?P<{q}>(?:[^"]|"")+)"|(?P<{p}>[^."]+))'
_QUALIFIED = re.compile("^" + _PART.format(q="qs", p="s") + r"\." + _PART.format(q="qt", p="t") + "$")

# ClickHouse stores a table's name in a file name of at most 255 bytes, together with the database and a UUID.
_LONGEST_TARGET = 190
_LONGEST_STEM = 120


@dataclass(frozen=True, order=True)
class TableName:
    """A table of the source, spelled as in its catalogue (no folding of case)."""

    schema: str
    table: str

    @classmethod
    def parse(cls, text: str) -> TableName:
        """Parses `schema.table`; a part with a dot or a quote must be a quoted identifier. Raises ValueError."""
        match = _QUALIFIED.match(text)
        if match is None:
            raise ValueError(f"{text!r} is not a table name; write schema.table, as in public.orders")
        schema = match["s"] if match["s"] is not None else match["qs"].replace('""', '"')
        table = match["t"] if match["t"] is not None else match["qt"].replace('""', '"')
        return cls(schema, table)

    def __str__(self) -> str:
        return f"{_plain(self.schema)}.{_plain(self.table)}"

    def matches(self, name: TableName) -> bool:
        """Whether `name` matches this name as a pattern, in which `*` stands for any characters."""
        pairs = ((self.schema, name.schema), (self.table, name.table))
        return all(re.fullmatch(re.escape(pattern).replace(r"\*", ".*"), part, re.DOTALL) for pattern, part in pairs)

    @property
    def sql(self) -> str:
        """The name, quoted for Postgres."""
        return f"{quote_postgres(self.schema)}.{quote_postgres(self.table)}"

    @property
    def target(self) -> str:
        """Name in `raw`: the table's own for schema public, else schema__table."""
        return self.table if self.schema == "public" else f"{self.schema}__{self.table}"


def _plain(part: str) -> str:
    return quote_postgres(part) if "." in part or '"' in part else part


def quote_postgres(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'


def raw(table: str) -> str:
    """The table of database `raw`, quoted for ClickHouse."""
    return qualified("raw", table)


def loading_table(target: str, run: int, attempt: int) -> str:
    """Returns the table into which only this attempt of the run loads the target."""
    return f"{_stem(target)}__loading_{run}_{attempt}"


def publisher_table(loading: str, mark: str) -> str:
    """Returns the loading table's name with a publisher's unique `mark` (hex digits), which replaces any earlier mark."""
    return f"{unmarked(loading)}_{mark}"


def unmarked(name: str) -> str:
    """Returns a loading table's name without a publisher's mark; any other name unchanged."""
    return LOADING.sub(r"__loading_\g<run>_\g<try>", name)


def run_of_loading_table(name: str) -> int | None:
    """Returns the run of a loading table; None for any other table of `raw`."""
    match = LOADING.search(name)
    return int(match["run"]) if match else None


def target_problem(target: str) -> str | None:
    """Returns why `target` cannot be a table of `raw`, or None."""
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
