"""How a table travels: neutral mappings of columns and tables, between any source and the warehouse."""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TypeVar

from warehouse.errors import TerminalError
from warehouse.quoting import quote

from elt.pipeline.options import TableEntry

RUN_COLUMN = "_elt_run"
LOADED_COLUMN = "_elt_loaded_at"
OWN_PREFIX = "_elt_"
"""Begins the names of columns that are the loader's own."""
_WIRE_PREFIX = f"{OWN_PREFIX}wire_"
PAD = f"{_WIRE_PREFIX}pad"
"""A second column for tables of one: ClickHouse (26.9) takes an empty line after a row for the end of that row."""
_FLOATS = ("Float32", "Float64")
WIDEST_DECIMAL = 76


@dataclass(frozen=True)
class YearRange:
    """Range of years that a server's Date32 and DateTime64 store and return correctly."""

    first: int
    last: int
    loud: bool
    """Whether the server refuses a year outside the range, instead of clamping it."""


_Column = TypeVar("_Column", bound="ColumnMapping")
WIDE = YearRange(1, 9999, loud=True)
NARROW = YearRange(1900, 2299, loud=False)


@dataclass(frozen=True)
class ColumnMapping:
    """Mapping of one column."""

    name: str
    """Name in `raw`: the source's, except for array columns that ClickHouse would combine into one Nested column."""
    declared: str
    """Type at the source, for people."""
    clickhouse: str
    """ClickHouse type, including Nullable."""
    convert: str | None = None
    """ClickHouse expression over the sent text, with {wire} for its name; None if the text is read unchanged."""
    as_text: bool = False
    """Whether the type has no counterpart, so that it is copied as text."""
    renamed_from: str | None = None
    """Name at the source, if different."""

    @property
    def source_name(self) -> str:
        return self.renamed_from or self.name

    @property
    def facts(self) -> list[str]:
        """Whatever makes two mappings send different values for the same row."""
        return [self.name, self.clickhouse]


@dataclass(frozen=True)
class TableMapping:
    """Mapping of one table, after `exclude` and `types`."""

    name: str
    """At the source, for people."""
    columns: Sequence[ColumnMapping]
    key: tuple[str, ...]
    """Columns of the key; empty when there is none, or a part of it is excluded."""
    entry: TableEntry
    estimated_rows: int | None = None
    """Rows that the source expects to be copied; None where it does not know."""
    key_is_proven: bool = False
    """Whether the source itself keeps two rows from having the same key."""

    @property
    def order(self) -> tuple[str, ...]:
        """Columns by which the table in `raw` is ordered."""
        return self.entry.order_by or self.key

    @property
    def incremental(self) -> bool:
        """Whether rows of later runs replace those of earlier ones."""
        return self.entry.mode == "incremental"

    @property
    def facts(self) -> list[object]:
        """Whatever would make rows of an earlier load differ from those of the next."""
        entry = self.entry
        return [entry.mode, self.key, entry.partition_by, self.order]

    @property
    def fingerprint(self) -> str:
        """Changes with everything that would make rows of an earlier load differ from those of the next."""
        facts = [[column.facts for column in self.columns], self.facts]
        return hashlib.sha256(json.dumps(facts).encode()).hexdigest()[:16]

    @property
    def floats(self) -> frozenset[str]:
        """Columns that may hold NaN and no NULL, as those of a key."""
        return frozenset(column.name for column in self.columns if column.clickhouse in _FLOATS)

    @property
    def key_to_compare(self) -> str:
        """The key as a list for ClickHouse's IN, where NaN is in no set and -0 is not 0: Postgres and FINAL take each for one key."""
        parts, floats = [], self.floats
        for name in self.key:
            quoted = quote(name)
            parts += [f"isNaN({quoted})", f"if(isNaN({quoted}), 0, {quoted} + 0)"] if name in floats else [quoted]
        return ", ".join(parts)

    @property
    def wire(self) -> tuple[str, ...]:
        """Columns of the insert, in the order in which they are sent."""
        names = tuple(wire_name(i, column) for i, column in enumerate(self.columns))
        return (*names, PAD) if len(names) == 1 else names


def wire_name(index: int, column: ColumnMapping) -> str:
    return column.name if column.convert is None else f"{_WIRE_PREFIX}{index}"


def check_names(table: str, names: Sequence[str]) -> None:
    """Raises TerminalError where a column that is to be copied has a name of the loader's own, or where none is left."""
    if not names:
        raise TerminalError(f"{table}: every column is excluded; leave one, or take the table out of pipeline.yml")
    if taken := [name for name in names if name.startswith(OWN_PREFIX)]:
        raise TerminalError(
            f"{table} has a column {', '.join(taken)}, and names that begin with {OWN_PREFIX} are the loader's own; "
            "exclude it in pipeline.yml, or rename it at the source"
        )


def apart(columns: tuple[_Column, ...]) -> tuple[_Column, ...]:
    """Returns the columns, with `_` instead of dots in the names of arrays that share the part before the first dot.

    ClickHouse treats arrays `a.x` and `a.y` as one Nested column, whose arrays must all have the same length.
    """

    def prefix(column: ColumnMapping) -> str | None:
        before, dot, _ = column.name.partition(".")
        return before if dot and column.clickhouse.startswith("Array(") else None

    shared = {one for one, count in Counter(map(prefix, columns)).items() if one is not None and count > 1}
    taken = {column.name for column in columns}
    found = []
    for column in columns:
        if prefix(column) in shared:
            name = base = column.name.replace(".", "_")
            number = 2
            while name in taken:
                name, number = f"{base}_{number}", number + 1
            taken.add(name)
            column = replace(column, name=name, renamed_from=column.name)
        found.append(column)
    return tuple(found)
