"""pipeline.yml: the tables to copy. The whole file is validated, and every mistake is reported with its line."""

from __future__ import annotations

import re
from collections import Counter
from datetime import timedelta
from pathlib import Path
from typing import Annotated, Literal
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import yaml
from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Discriminator,
    Field,
    Tag,
    ValidationError,
    model_validator,
)
from warehouse.errors import TerminalError

from elt.sources.postgres.columns import override_problem
from elt.errors import PipelineFileError
from elt.pipeline.names import TableName, target_problem

Location = tuple[str | int, ...]


def _table_name(value: object) -> TableName:
    if isinstance(value, TableName):
        return value
    if not isinstance(value, str):
        raise ValueError("a table name is text: schema.table")
    return TableName.parse(value)


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


class _Strict(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


OnError = Literal["fail", "keep"]


class TableEntry(_Strict):
    """One table to copy."""

    name: Annotated[TableName, BeforeValidator(_table_name)]
    mode: Literal["full", "incremental"] = "full"
    target: Annotated[str, Field(min_length=1)] | None = None
    exclude: tuple[str, ...] = ()
    """Columns that never leave the source."""
    mask: tuple[str, ...] = ()
    """Columns of which only a salted hash leaves the source."""
    types: dict[str, Annotated[str, BeforeValidator(_override)]] = Field(default_factory=dict)
    replace: dict[str, str | None] = Field(default_factory=dict)
    """Replacements in `raw` for values that the column's type there does not hold; None is NULL."""
    where: Annotated[str, Field(min_length=1)] | None = None
    """Condition of the source on the rows that are copied."""
    order_by: tuple[str, ...] = ()
    """Columns by which the table in `raw` is ordered; the key when empty."""
    partition_by: Annotated[str, Field(min_length=1)] | None = None
    """Expression of ClickHouse."""
    ranges: Annotated[int, Field(ge=1, le=16)] = 1
    """Number of sessions that read the table in parallel, each a range of its blocks; see `copying.sessions`."""
    cursor: str | None = None
    """Incremental: the column that grows with every change of a row."""
    key: tuple[str, ...] = ()
    """Incremental: the columns that identify a row; the primary key when empty."""
    lookback: Annotated[timedelta | int | None, BeforeValidator(_lookback)] = None
    """Incremental: how far behind the watermark a load starts to read; a duration, or units of a number."""
    cursor_timezone: Annotated[str, AfterValidator(_timezone)] | None = None
    """Incremental by a timestamp or a date: the cursor's time zone; the database's by default."""
    on_error: OnError | None = None
    """Whether a failed load fails the run, or the published table stays; the source's value by default."""

    @model_validator(mode="after")
    def _fits(self) -> TableEntry:
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
    def target_name(self) -> str:
        """Name of the table in `raw`."""
        return self.target or self.name.target


def _kind_of_tables(value: object) -> str:
    return _LIST if isinstance(value, list | tuple) else _ALL


_ALL, _LIST = "tables: all", "tables: a list"

Tables = Annotated[
    Annotated[Literal["all"], Tag(_ALL)] | Annotated[tuple[TableEntry, ...], Tag(_LIST)],
    Discriminator(_kind_of_tables),
]


class SourceEntry(_Strict):
    """One source. `tables` is `all` or a list."""

    name: Annotated[str, Field(min_length=1)]
    kind: Literal["postgres"]
    tables: Tables
    verify: Literal["every_run", "daily", "never"] = "daily"
    """Which loads are compared with the source, column by column, before publication; `daily`: a table's first load of each day, UTC."""
    any_host: bool = False
    """Whether another host in SOURCE_URL still means the same source: replicas, failover, a new name."""
    options: tuple[TableEntry, ...] = ()
    """Beside `tables: all`: tables with options, and relations that `all` leaves out, such as views."""
    exclude: tuple[Annotated[TableName, BeforeValidator(_table_name)], ...] = ()
    """Beside `tables: all`: tables that are not copied; `*` stands for any characters."""
    on_gone: Literal["keep", "drop"] = "keep"
    """Beside `tables: all`: the fate of the copy of a table that is gone at the source; see elt.runs.gone."""
    on_error: OnError = "fail"
    """Default for the tables of the source."""

    @model_validator(mode="after")
    def _beside_all(self) -> SourceEntry:
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


def _one_source(value: tuple[SourceEntry, ...]) -> tuple[SourceEntry, ...]:
    if len(value) != 1:
        raise ValueError(f"there must be one source, not {len(value)}")
    return value


class PipelineFile(_Strict):
    """The whole file."""

    sources: Annotated[tuple[SourceEntry, ...], AfterValidator(_one_source)]

    @property
    def source(self) -> SourceEntry:
        return self.sources[0]


def read_pipeline(path: Path) -> PipelineFile:
    """Returns the validated content of pipeline.yml.

    Raises PipelineFileError with every mistake and its line, TerminalError if the file cannot be read.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "not UTF-8"
        raise TerminalError(f"{path} cannot be read ({reason}); ELT_PIPELINE names the file of tables") from None
    try:
        node = yaml.compose(text, Loader=yaml.SafeLoader)
        content = yaml.safe_load(text)
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        line = mark.line + 1 if mark else 1
        raise PipelineFileError(str(path), [f"line {line}: {getattr(error, 'problem', None) or error}"]) from None
    lines: dict[Location, int] = {}
    mistakes = _index(node, (), lines)
    try:
        pipeline = PipelineFile.model_validate(content)
    except ValidationError as error:
        mistakes += [_mistake(e["loc"], e["msg"], e["type"], lines) for e in error.errors(include_url=False)]
        raise PipelineFileError(str(path), _sorted(mistakes)) from None
    where = "options" if pipeline.source.tables == "all" else "tables"
    mistakes += [f"line {lines.get(('sources', 0, where, i, 'name'), 1)}: {text}" for i, text in _cross(pipeline)]
    if mistakes:
        raise PipelineFileError(str(path), _sorted(mistakes))
    return pipeline


def collisions(targets: list[tuple[TableName, str]]) -> list[str]:
    """Returns a sentence for each name in `raw` that two source tables would share."""
    counts = Counter(target for _, target in targets)
    return [
        f"{' and '.join(str(n) for n, t in targets if t == target)} would both be raw.{target}; give one a target:"
        for target, count in counts.items()
        if count > 1
    ]


def _cross(pipeline: PipelineFile) -> list[tuple[int, str]]:
    tables = pipeline.source.options if pipeline.source.tables == "all" else pipeline.source.tables
    mistakes: list[tuple[int, str]] = []
    first: dict[str, int] = {}
    for i, entry in enumerate(tables):
        if problem := target_problem(entry.target_name):
            mistakes.append((i, f"raw.{entry.target_name} {problem}"))
        if entry.target_name in first:
            other = tables[first[entry.target_name]].name
            mistakes.append((i, collisions([(other, entry.target_name), (entry.name, entry.target_name)])[0]))
        first.setdefault(entry.target_name, i)
    return mistakes


def _index(node: yaml.Node | None, at: Location, lines: dict[Location, int]) -> list[str]:
    """Fills `lines` with the line of each value; returns duplicate keys."""
    if node is None:
        return []
    lines.setdefault(at, node.start_mark.line + 1)
    twice: list[str] = []
    if isinstance(node, yaml.MappingNode):
        for key, value in node.value:
            here = (*at, str(key.value))
            if here in lines:
                twice.append(f"line {key.start_mark.line + 1}: {key.value} is given twice")
            lines[here] = key.start_mark.line + 1
            twice += _index(value, here, lines)
    elif isinstance(node, yaml.SequenceNode):
        for i, value in enumerate(node.value):
            twice += _index(value, (*at, i), lines)
    return twice


def _mistake(location: tuple[int | str, ...], message: str, kind: str, lines: dict[Location, int]) -> str:
    # Pydantic adds the tag of the union's branch to the location; the tag is not in the file.
    path: Location = tuple(part for part in location if part not in (_ALL, _LIST))
    known = path
    while known and known not in lines:
        known = known[:-1]
    name = ".".join(str(p) for p in path) or "the file"
    text = {
        "extra_forbidden": "is not a known key",
        "missing": "is missing",
        "tuple_type": "must be a list",
        "model_type": "must be keys with values",
        "dict_type": "must be keys with values",
        "literal_error": message.replace("Input should be", "must be"),
    }.get(kind, message.removeprefix("Value error, "))
    return f"line {lines.get(known, 1)}: {name}: {text}"


def _sorted(mistakes: list[str]) -> list[str]:
    return sorted(dict.fromkeys(mistakes), key=lambda text: int(text.split(":", 1)[0].removeprefix("line ")))
