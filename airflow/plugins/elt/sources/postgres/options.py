"""Options of pipeline.yml for `kind: postgres`."""

from __future__ import annotations

import re
from collections import Counter
from datetime import timedelta
from typing import Annotated, ClassVar, Literal
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from pydantic import AfterValidator, BeforeValidator, Discriminator, Field, Tag, model_validator

from elt.mapping import WIDEST_DECIMAL
from elt.pipeline.options import SourceEntry, TableEntry, Variable
from elt.sources.postgres.names import TableName

DECIMAL = re.compile(r"Decimal\((\d{1,2}), ?(\d{1,2})\)")


def _table_name(value: object) -> TableName:
    if isinstance(value, TableName):
        return value
    if not isinstance(value, str):
        raise ValueError("a table name is text: schema.table")
    return TableName.parse(value)


def override_problem(text: str) -> str | None:
    """Returns why `text` is not valid under `types:`, or None."""
    if text == "String":
        return None
    match = DECIMAL.fullmatch(text)
    if match and 1 <= int(match[1]) <= WIDEST_DECIMAL and int(match[2]) <= int(match[1]):
        return None
    return f"{text!r} is no type that a column can be given; use String, or Decimal(p, s) with p up to {WIDEST_DECIMAL}"


def _override(value: object) -> object:
    if isinstance(value, str) and (problem := override_problem(value)):
        raise ValueError(problem)
    return value


_LOOKBACK = re.compile(r"(\d+) ?(s|min|h|d)")
_UNITS = {"s": "seconds", "min": "minutes", "h": "hours", "d": "days"}


def _lookback(value: object) -> object:
    if isinstance(value, str) and (match := _LOOKBACK.fullmatch(value)):
        return timedelta(**{_UNITS[match[2]]: int(match[1])})
    if value is None or isinstance(value, timedelta) or (type(value) is int and value >= 0):
        return value
    raise ValueError(f"{value!r} is no lookback; write 30min, 1h or 2d, or a whole number for a cursor of numbers")


def _timezone(name: str) -> str:
    try:
        ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError):
        raise ValueError(f"{name!r} is no time zone; write one as Europe/Berlin or UTC") from None
    return name


class PostgresTable(TableEntry):
    """One table, view, materialized view or foreign table."""

    name: Annotated[TableName, BeforeValidator(_table_name)]
    mode: Literal["full", "incremental"] = "full"
    mask: tuple[str, ...] = ()
    """Columns of which only a salted hash leaves the source."""
    types: dict[str, Annotated[str, BeforeValidator(_override)]] = Field(default_factory=dict)
    replace: dict[str, str | None] = Field(default_factory=dict)
    """Replacements in `raw` for values that the column's type there does not hold; None is NULL."""
    where: Annotated[str, Field(min_length=1)] | None = None
    """Condition of the source on the rows that are copied."""
    ranges: Annotated[int, Field(ge=1, le=16)] = 1
    """Number of sessions that read the table in parallel, each a range of its blocks; see `tables.sessions`."""
    cursor: str | None = None
    """Incremental: the column that grows with every change of a row."""
    key: tuple[str, ...] = ()
    """Incremental: the columns that identify a row; the primary key when empty."""
    lookback: Annotated[timedelta | int | None, BeforeValidator(_lookback)] = None
    """Incremental: how far behind the watermark a load starts to read; a duration, or units of a number."""
    cursor_timezone: Annotated[str, AfterValidator(_timezone)] | None = None
    """Incremental by a timestamp or a date: the cursor's time zone; the database's by default."""

    @model_validator(mode="after")
    def _fits(self) -> PostgresTable:
        if self.mode == "incremental":
            if self.cursor is None:
                raise ValueError("mode incremental needs a cursor: the column that grows with every change of a row")
            if self.order_by:
                raise ValueError("order_by is for mode full; an incremental table is ordered by its key")
            if self.cursor in (*self.exclude, *self.mask, *self.types):
                raise ValueError(f"the cursor {self.cursor} can be neither excluded nor masked nor given another type")
        elif self.cursor or self.key or self.lookback is not None or self.cursor_timezone:
            raise ValueError("cursor, key, lookback and cursor_timezone are for mode incremental")
        if gone := [name for name in (*self.key, *self.order_by) if name in self.exclude]:
            raise ValueError(f"{', '.join(gone)} is excluded, and cannot order the rows")
        listed = Counter((*self.exclude, *self.mask, *self.types))
        if twice := [name for name, count in listed.items() if count > 1]:
            raise ValueError(f"{', '.join(twice)} stands more than once in exclude, mask and types")
        return self

    @property
    def plain_target(self) -> str:
        return self.name.target


def _kind_of_tables(value: object) -> str:
    return _LIST if isinstance(value, list | tuple) else _ALL


_ALL, _LIST = "tables: all", "tables: a list"

Tables = Annotated[
    Annotated[Literal["all"], Tag(_ALL)] | Annotated[tuple[PostgresTable, ...], Tag(_LIST)],
    Discriminator(_kind_of_tables),
]


class PostgresSource(SourceEntry):
    """One database. `tables` is `all` or a list."""

    lists: ClassVar[tuple[str, ...]] = ("tables", "options")

    kind: Literal["postgres"]
    url: Variable | None = None
    """Where its address stands; SOURCE_URL by default, which at most one source has. Its tables keep their own names in `raw`."""
    tables: Tables
    any_host: bool = False
    """Whether another host in the address still means the same source: replicas, failover, a new name."""
    options: tuple[PostgresTable, ...] = ()
    """Beside `tables: all`: tables with options, and relations that `all` leaves out, such as views."""
    exclude: tuple[Annotated[TableName, BeforeValidator(_table_name)], ...] = ()
    """Beside `tables: all`: tables that are not copied; `*` stands for any characters."""
    on_gone: Literal["keep", "drop"] = "keep"
    """Beside `tables: all`: the fate of the copy of a table that is gone at the source; see elt.runs.gone."""

    @model_validator(mode="after")
    def _beside_all(self) -> PostgresSource:
        if self.tables != "all":
            for name in ("options", "exclude", "on_gone"):
                if name in self.model_fields_set:
                    raise ValueError(f"{name} stands beside tables: all; a list says itself what is copied, and how")
        for entry in self.options:
            if pattern := next((one for one in self.exclude if one.matches(entry.name)), None):
                raise ValueError(
                    f"{entry.name} stands under options, and {pattern} under exclude; take one of them out"
                )
        return self

    @property
    def url_variable(self) -> str:
        """Name of the environment variable of its address."""
        return self.url.env if self.url else "SOURCE_URL"

    @property
    def entries(self) -> tuple[PostgresTable, ...]:
        return self.options if self.tables == "all" else self.tables

    @property
    def is_complete(self) -> bool:
        return self.tables != "all"

    def table(self, name: str) -> PostgresTable:
        """A bare name is in schema public."""
        try:
            found = TableName.parse(name)
        except ValueError:
            found = TableName("public", name)
        return PostgresTable(name=found)

    def excluded_by(self, entry: TableEntry) -> str:
        name = entry.name
        return next((str(one) for one in self.exclude if isinstance(name, TableName) and one.matches(name)), "")

    @property
    def drops_gone(self) -> bool:
        return self.on_gone == "drop"

    @property
    def prefix(self) -> str:
        return f"{self.name}__" if self.url else ""
