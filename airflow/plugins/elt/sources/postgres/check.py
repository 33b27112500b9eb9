"""Looks at a database and its tables without copying them."""

from __future__ import annotations

from collections.abc import Mapping

from warehouse.errors import PipelineError

from elt.mapping import WIDE
from elt.sources.base import FARTHEST_ZONE, Checked, CheckedTable, Selection
from elt.sources.postgres.catalogue import SourceColumn, SourceTable, read_table
from elt.sources.postgres.horizon import sees_transactions
from elt.sources.postgres.mapping import TIMES, PostgresMapping, map_table
from elt.sources.postgres.names import TableName, quote_postgres
from elt.sources.postgres.options import PostgresSource, PostgresTable
from elt.sources.postgres.ranges import processors, sessions
from elt.sources.postgres.sessions.server import Server
from elt.sources.postgres.sessions.session import Session
from elt.sources.postgres.statements import where

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


_COMMENTS = """
SELECT coalesce(a.attname::text, ''), d.description
FROM pg_description d LEFT JOIN pg_attribute a ON a.attrelid = d.objoid AND a.attnum = d.objsubid AND d.objsubid > 0
WHERE d.objoid = %s AND d.classoid = 'pg_class'::regclass
"""


def check(server: Server, entry: PostgresSource, session: Session, selection: Selection) -> Checked:
    """Looks at every table of the selection, at the role's rights, and takes the first steps of a load."""
    tables: list[CheckedTable] = []
    mistakes: list[str] = []
    notes: list[str] = []
    entries = [one for one in selection.entries if isinstance(one, PostgresTable)]
    for one in entries:
        try:
            tables.append(_check_table(server, session, one))
        except PipelineError as error:
            mistakes.append(str(error.naming(str(one.name))))
    if any(one.mode == "incremental" for one in entries) and not sees_transactions(session):
        notes.append(BLIND)
    if leftovers := _leftovers(session):
        notes.append(
            f"The role of {server.variable} may leave {', '.join(leftovers)} in the source and needs to read only; "
            "docs/source.md has the REVOKEs"
        )
    if any(one.mask for one in entries) and not server.mask_salt.get_secret_value():
        mistakes.append("pipeline.yml masks columns and MASK_SALT is empty; set it, once and for all")
    try:
        # A second session, and a snapshot for it.
        session.begin((), copies=True)
    except PipelineError as error:
        mistakes.append(str(error))
    return Checked(tuple(tables), tuple(mistakes), (*notes, *_not_chosen(entry, selection)), selection)


def read_comments(session: Session, name: TableName) -> Mapping[str, str]:
    """Comments on the table ("") and on its columns."""
    table = read_table(session, name)
    return {str(column): str(text) for column, text in session.rows(_COMMENTS, (table.oid,))}


def _leftovers(session: Session) -> list[str]:
    """Returns the kinds of objects that the role may create in the source's database."""
    kinds = ("large objects", "temporary tables", "objects of its own")
    return [kind for kind, may in zip(kinds, session.rows(_LEFTOVERS)[0], strict=True) if may]


def _not_chosen(source: PostgresSource, selection: Selection) -> list[str]:
    """Returns a sentence for each table that `all` leaves out, and one on tables of `exclude:`."""
    notes = [f"{table.name} is left out: {table.reason}" for table in selection.left_out]
    if selection.excluded:
        notes.append(f"excluded in pipeline.yml: {', '.join(selection.excluded)}")
    for pattern in source.exclude:
        if not any(pattern.matches(TableName.parse(name)) for name in selection.excluded):
            notes.append(
                f"exclude: {pattern} matches no table of the source; correct it in pipeline.yml, or take it out"
            )
    return notes


def _check_table(server: Server, session: Session, entry: PostgresTable) -> CheckedTable:
    table = read_table(session, entry.name)
    mapping = map_table(table, entry, WIDE)
    # A query without rows needs the same rights as a full read.
    columns = ", ".join(quote_postgres(column.source_name) for column in mapping.columns)
    session.rows(f"SELECT {columns} FROM {entry.name.sql}{where(mapping)} LIMIT 0")
    return CheckedTable(
        str(entry.name),
        entry.target_name,
        table.estimated_rows,
        len(mapping.columns),
        mapping.key,
        _notes(server, session, table, mapping),
    )


def _notes(server: Server, session: Session, table: SourceTable, mapping: PostgresMapping) -> tuple[str, ...]:
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
    if sessions(mapping.entry, (session.host, server.settings.clickhouse_host)) < mapping.entry.ranges:
        notes.append(
            f"ranges: {mapping.entry.ranges} is one session here: it keeps all {processors()} processors busy, "
            "which the loader shares with source and warehouse"
        )
    if mapping.incremental:
        notes.append(f"incremental by {mapping.entry.cursor}; deletes are not followed")
        if future := _count_future(session, table, mapping):
            notes.append(f"{future:,} rows have a {mapping.entry.cursor} that no clock shows yet: every run reads them")
        if not _indexed(session, table, str(mapping.entry.cursor)):
            notes.append(f"no index begins with {mapping.entry.cursor}, so that every load reads the whole table")
    return tuple(notes)


def _count_future(session: Session, table: SourceTable, mapping: PostgresMapping) -> int:
    """Counts rows whose cursor is later than the present in every time zone."""
    (column,) = [column for column in table.columns if column.name == mapping.entry.cursor]
    if column.base not in TIMES:
        return 0
    hours = FARTHEST_ZONE.total_seconds() / 3600
    latest = f"(now() AT TIME ZONE 'UTC' + interval '{hours:.0f} hours')::{column.base}"
    counted = where(mapping, f"{quote_postgres(column.name)} > {latest}")
    return int(session.rows(f"SELECT count(*) FROM {table.name.sql}{counted}")[0][0])


def _is_unbounded(column: SourceColumn) -> bool:
    return column.base == "numeric" and column.typmod < 4


def _indexed(session: Session, table: SourceTable, column: str) -> bool:
    query = (
        "SELECT EXISTS (SELECT FROM pg_index i JOIN pg_attribute a ON a.attrelid = i.indrelid AND a.attnum = i.indkey[0]"
        " WHERE i.indrelid = %s AND a.attname = %s AND i.indisvalid AND i.indpred IS NULL)"
    )
    return bool(session.rows(query, (table.oid, column))[0][0])
