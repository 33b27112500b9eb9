"""Options of pipeline.yml that every kind of source has. A kind adds its own: `options.py` in its folder below `sources/`."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal, Self

from pydantic import BaseModel, ConfigDict, Field
from warehouse.errors import TerminalError

OnError = Literal["fail", "keep"]
Verify = Literal["every_run", "daily", "never"]

BY_HAND = "manual"
"""The `schedule:` of a source that no clock starts."""


class Options(BaseModel):
    """Keys that are not known are refused."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class Variable(Options):
    """A value that stands in the environment."""

    env: Annotated[str, Field(pattern=r"^[A-Z][A-Z0-9_]*$")]
    """Name of the variable."""


class TableEntry(Options):
    """One table of a source."""

    name: object
    """Name at the source; str() gives it as people write it."""
    mode: str = "full"
    """Name of a strategy in elt.runs.modes."""
    target: Annotated[str, Field(min_length=1)] | None = None
    """Name in `raw`. Whoever reads pipeline.yml gets it filled in, except for the source that keeps its tables' own names."""
    exclude: tuple[str, ...] = ()
    """Columns that never leave the source."""
    order_by: tuple[str, ...] = ()
    """Columns by which the table in `raw` is ordered; the key when empty."""
    partition_by: Annotated[str, Field(min_length=1)] | None = None
    """Expression of ClickHouse."""
    key: tuple[str, ...] = ()
    """Columns that identify a row."""
    on_error: OnError | None = None
    """Whether a failed load fails the run, or the published table stays; the source's value by default."""

    @property
    def plain_target(self) -> str:
        """Name in `raw` without `target:` and without the source's name before it."""
        return str(self.name)

    @property
    def target_name(self) -> str:
        """Name of the table in `raw`."""
        return self.target or self.plain_target


class SourceEntry(Options):
    """One source. A kind says what its `tables` are."""

    lists: ClassVar[tuple[str, ...]] = ("tables",)
    """Fields that list tables."""

    name: Annotated[str, Field(min_length=1)]
    kind: str
    schedule: Annotated[str, Field(min_length=1)] | None = None
    """When its DAG runs: a cron expression, a preset of Airflow as @daily, or `manual`; ELT_SCHEDULE by default."""
    verify: Verify = "daily"
    """Which loads are compared with the source, column by column, before publication; `daily`: a table's first load of each day, UTC."""
    on_error: OnError = "fail"
    """Default for the tables of the source."""

    @property
    def entries(self) -> tuple[TableEntry, ...]:
        """The tables that the file names, with their options."""
        raise NotImplementedError

    @property
    def list_name(self) -> str:
        """The field in which `entries` stand."""
        return self.lists[0] if self.is_complete else self.lists[-1]

    @property
    def is_complete(self) -> bool:
        """Whether `entries` are all tables; False where only the source knows them."""
        return True

    @property
    def url_variable(self) -> str:
        """Name of the environment variable of its address; empty where that stands in the file."""
        return ""

    @property
    def drops_gone(self) -> bool:
        """Whether the copy of a table that is gone at the source is dropped; see elt.runs.gone."""
        return False

    @property
    def prefix(self) -> str:
        """Begins the name in `raw` of each table without `target:`."""
        return f"{self.name}__"

    def table(self, name: str) -> TableEntry:
        """The entry of a table of which only the name is given. Raises TerminalError where that is not enough, or is no name."""
        raise TerminalError(
            f"{name} is not in pipeline.yml; write it under tables: of the source {self.name}, with what its kind needs"
        )

    def excluded_by(self, entry: TableEntry) -> str:
        """The pattern that leaves the table out; empty if none does."""
        return ""

    def with_targets(self) -> Self:
        """The source with `target` and `on_error` of its tables filled in."""
        filled = {
            name: tuple(self.filled(entry) for entry in listed)
            for name in self.lists
            if isinstance(listed := getattr(self, name), tuple)
        }
        return self.model_copy(update=filled)

    def filled(self, entry: TableEntry) -> TableEntry:
        """The entry with what the source says for all of its tables."""
        target = f"{self.prefix}{entry.target_name}" if self.prefix and entry.target is None else entry.target
        return entry.model_copy(update={"target": target, "on_error": entry.on_error or self.on_error})
