"""Checks pipeline.yml against the live source, and the warehouse's setup; changes nothing."""

from __future__ import annotations

from dataclasses import dataclass

from warehouse import ops
from warehouse.client import Warehouse
from warehouse.errors import PipelineError

from elt.sources.postgres.columns import WIDE
from elt.destination.statements import TIMES, TableMapping, map_table, where
from elt.pipeline.file import SourceEntry, TableEntry, read_pipeline
from elt.pipeline.names import quote_postgres
from elt.planning.plan import Selection, select_tables
from elt.runs import gone
from elt.runs.copying import processors, sessions
from elt.runs.modes.incremental import FARTHEST_ZONE
from elt.settings import Settings
from elt.sources.postgres.catalogue import SourceColumn, SourceTable, read_table
from elt.sources.postgres.horizon import sees_transactions
from elt.sources.postgres.session import Source

BLIND = (
    "The source does not tell this role when the oldest open transaction began (it is a replica, or lacks "
    "elt_oldest_transaction(), see docs/source.md): rows of a transaction that stays open for longer than the lookback "
    "can be missed by incremental loads; create that function, GRANT pg_read_all_stats, or give a longer lookback:"
)

# Postgres grants the first two to every role, and before version 15 also the third.
_LEFTOVERS = """
SELECT has_function_privilege('pg_catalog.lo_create(oid)', 'EXECUTE'),
       has_database_privilege(current_database(), 'TEMPORARY'),
       has_database_privilege(current_database(), 'CREATE') OR EXISTS (
           SELECT FROM pg_namespace WHERE nspname !~ '^pg_temp|^pg_toast' AND has_schema_privilege(oid, 'CREATE'))
"""


@dataclass(frozen=True)
class CheckedTable:
    source: str
    target: str
    rows: int | None
    columns: int
    key: tuple[str, ...]
    notes: tuple[str, ...]


@dataclass(frozen=True)
class Checked:
    tables: tuple[CheckedTable, ...]
    mistakes: tuple[str, ...]
    notes: tuple[str, ...]


def check(settings: Settings) -> Checked:
    """Returns the tables that a run would copy, and every mistake that can be found without copying.

    Raises PipelineError only where nothing more can be looked at: the file is wrong or the source does not answer.
    """
    file = read_pipeline(settings.elt_pipeline)
    tables: list[CheckedTable] = []
    mistakes: list[str] = []
    notes: list[str] = []
    with Source(settings, "elt check") as source:
        selection = select_tables(file, source)
        for entry in (entries := selection.entries):
            try:
                tables.append(_check_table(settings, source, entry))
            except PipelineError as error:
                mistakes.append(str(error.naming(str(entry.name))))
        if any(entry.mode == "incremental" for entry in entries) and not sees_transactions(source):
            notes.append(BLIND)
        if leftovers := _leftovers(source):
            notes.append(
                f"The role of SOURCE_URL may leave {', '.join(leftovers)} in the source and needs to read only; "
                "docs/source.md has the REVOKEs"
            )
        if any(entry.mask for entry in entries) and not settings.mask_salt.get_secret_value():
            mistakes.append("pipeline.yml masks columns and MASK_SALT is empty; set it, once and for all")
        try:
            # The first steps of a load: a second session, and a snapshot for it.
            source.begin((), copies=True)
        except PipelineError as error:
            mistakes.append(str(error))
    try:
        with Warehouse(settings.warehouse) as warehouse:
            ops.check_tables(warehouse)
            notes += map(gone.describe, gone.find_absences(warehouse, selection).gone)
    except PipelineError as error:
        mistakes.append(str(error))
    notes += _not_chosen(file.source, selection)
    return Checked(tuple(tables), tuple(mistakes), tuple(notes))


def _leftovers(source: Source) -> list[str]:
    """Returns the kinds of objects that the role may create in the source's database."""
    kinds = ("large objects", "temporary tables", "objects of its own")
    return [kind for kind, may in zip(kinds, source.rows(_LEFTOVERS)[0], strict=True) if may]


def _not_chosen(source: SourceEntry, selection: Selection) -> list[str]:
    """Returns a sentence for each table that `all` leaves out, and one on tables of `exclude:`."""
    notes = [f"{table.name} is left out: {table.reason}" for table in selection.left_out]
    if selection.excluded:
        notes.append(f"excluded in pipeline.yml: {', '.join(map(str, selection.excluded))}")
    for pattern in source.exclude:
        if not any(pattern.matches(name) for name in selection.excluded):
            notes.append(
                f"exclude: {pattern} matches no table of the source; correct it in pipeline.yml, or take it out"
            )
    return notes


def _check_table(settings: Settings, source: Source, entry: TableEntry) -> CheckedTable:
    table = read_table(source, entry.name)
    mapping = map_table(table, entry, WIDE)
    # A query without rows needs the same rights as a full read.
    columns = ", ".join(quote_postgres(column.source_name) for column in mapping.columns)
    source.rows(f"SELECT {columns} FROM {entry.name.sql}{where(mapping)} LIMIT 0")
    return CheckedTable(
        str(entry.name),
        entry.target_name,
        table.estimated_rows,
        len(mapping.columns),
        mapping.key,
        _notes(settings, source, table, mapping),
    )


def _notes(settings: Settings, source: Source, table: SourceTable, mapping: TableMapping) -> tuple[str, ...]:
    kept = {column.source_name for column in mapping.columns}
    columns = [column for column in table.columns if column.name in kept]
    notes = []
    if texts := [c.name for c in mapping.columns if c.as_text]:
        notes.append(f"as text: {', '.join(texts)}")
    if renamed := [f"{c.source_name} as {c.name}" for c in mapping.columns if c.renamed_from]:
        notes.append(f"renamed, as ClickHouse takes arrays under dotted names for one: {', '.join(renamed)}")
    if unbounded := [c.name for c in columns if _is_unbounded(c)]:
        notes.append(f"numeric without precision: {', '.join(unbounded)}")
    if table.kind != "table":
        notes.append(table.kind)
    if mapping.entry.mask:
        notes.append(f"masked: {', '.join(mapping.entry.mask)}")
    if sessions(mapping.entry, (source.host, settings.clickhouse_host)) < mapping.entry.ranges:
        notes.append(
            f"ranges: {mapping.entry.ranges} is one session here: it keeps all {processors()} processors busy, "
            "which the loader shares with source and warehouse"
        )
    if mapping.incremental:
        notes.append(f"incremental by {mapping.entry.cursor}; deletes are not followed")
        if future := _count_future(source, table, mapping):
            notes.append(f"{future:,} rows have a {mapping.entry.cursor} that no clock shows yet: every run reads them")
        if not _indexed(source, table, str(mapping.entry.cursor)):
            notes.append(f"no index begins with {mapping.entry.cursor}, so that every load reads the whole table")
    return tuple(notes)


def _count_future(source: Source, table: SourceTable, mapping: TableMapping) -> int:
    """Counts rows whose cursor is later than the present in every time zone."""
    (column,) = [column for column in table.columns if column.name == mapping.entry.cursor]
    if column.base not in TIMES:
        return 0
    hours = FARTHEST_ZONE.total_seconds() / 3600
    latest = f"(now() AT TIME ZONE 'UTC' + interval '{hours:.0f} hours')::{column.base}"
    counted = where(mapping, f"{quote_postgres(column.name)} > {latest}")
    return int(source.rows(f"SELECT count(*) FROM {table.name.sql}{counted}")[0][0])


def _is_unbounded(column: SourceColumn) -> bool:
    return column.base == "numeric" and column.typmod < 4


def _indexed(source: Source, table: SourceTable, column: str) -> bool:
    query = (
        "SELECT EXISTS (SELECT FROM pg_index i JOIN pg_attribute a ON a.attrelid = i.indrelid AND a.attnum = i.indkey[0]"
        " WHERE i.indrelid = %s AND a.attname = %s AND i.indisvalid AND i.indpred IS NULL)"
    )
    return bool(source.rows(query, (table.oid, column))[0][0])
