"""Reads Postgres' catalogue: a table's columns with base types, key, size."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal, Protocol

from elt.errors import SourceRefusedError
from elt.sources.postgres.names import TableName

Kind = Literal["table", "partitioned table", "view", "materialized view", "foreign table"]
_KINDS: dict[str, Kind] = {
    "r": "table",
    "p": "partitioned table",
    "v": "view",
    "m": "materialized view",
    "f": "foreign table",
}


class Reads(Protocol):
    """The part of a source session that the catalogue needs."""

    def rows(self, sql: str, parameters: tuple[Any, ...] | None = None) -> list[tuple[Any, ...]]: ...


@dataclass(frozen=True)
class SourceColumn:
    """A column; domains are resolved to their base types."""

    name: str
    declared: str
    """Type as \\d prints it, with domain, length and precision."""
    not_null: bool
    base: str
    """Name of the base type in pg_catalog (int4, numeric), 'enum' for any enum, '' for every other type."""
    typmod: int
    dimensions: int
    """0 for a scalar; else the declared depth of the array whose elements are of type `base`."""


@dataclass(frozen=True)
class SourceTable:
    name: TableName
    kind: Kind
    oid: int
    estimated_rows: int | None
    """The planner's estimate of rows, partitions included; None before the first ANALYZE."""
    columns: tuple[SourceColumn, ...]
    key: tuple[str, ...]
    """Columns of the primary key, in its order."""
    unique: tuple[frozenset[str], ...] = ()
    """Sets of columns that identify a row, by a unique index that is valid and not deferrable."""
    has_children: bool = False
    """Whether the table has inheritance children, other than partitions: their rows are read with it, but its indexes do not cover them."""


_TABLE = """
SELECT c.oid::bigint, c.relkind::text,
       CASE WHEN c.relkind = 'p'
            THEN (SELECT sum(nullif(leaf.reltuples, -1)) FROM pg_partition_tree(c.oid) t JOIN pg_class leaf ON leaf.oid = t.relid
                  WHERE t.isleaf)
            ELSE nullif(c.reltuples, -1) END::bigint,
       c.relispopulated
FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE n.nspname = %s AND c.relname = %s AND c.relkind = ANY (ARRAY['r', 'p', 'v', 'm', 'f'])
"""

# Domains are resolved to their base types, also those of array elements. A domain has its own typmod and, over an array, its own depth. An
# array whose elements are a domain over an array is not resolved further: Postgres has no depth for it.
_COLUMNS = """
WITH RECURSIVE base AS (
    SELECT a.attnum, a.attname, format_type(a.atttypid, a.atttypmod) AS declared, a.attnotnull,
           a.attndims::int AS ndims, a.atttypid AS typid, a.atttypmod AS typmod, false AS is_element
    FROM pg_attribute a
    WHERE a.attrelid = %s AND a.attnum > 0 AND NOT a.attisdropped
    UNION ALL
    SELECT b.attnum, b.attname, b.declared, b.attnotnull,
           CASE WHEN t.typtype = 'd' AND NOT b.is_element THEN greatest(b.ndims, t.typndims) ELSE b.ndims END,
           CASE WHEN t.typtype = 'd' THEN t.typbasetype ELSE elem.oid END,
           CASE WHEN t.typtype = 'd' THEN t.typtypmod ELSE b.typmod END,
           b.is_element OR t.typtype <> 'd'
    FROM base b
    JOIN pg_type t ON t.oid = b.typid
    LEFT JOIN pg_type elem ON elem.typarray = t.oid
    WHERE t.typtype = 'd' OR (elem.oid IS NOT NULL AND NOT b.is_element)
)
SELECT b.attname, b.declared, b.attnotnull, b.typmod, b.ndims, b.is_element, t.typname::text, t.typtype::text,
       t.typnamespace = 'pg_catalog'::regnamespace
FROM base b
JOIN pg_type t ON t.oid = b.typid
LEFT JOIN pg_type elem ON elem.typarray = t.oid
WHERE t.typtype <> 'd' AND (b.is_element OR elem.oid IS NULL)
ORDER BY b.attnum
"""

_KEY = """
SELECT a.attname
FROM pg_index i
CROSS JOIN LATERAL unnest(i.indkey) WITH ORDINALITY AS k (attnum, position)
JOIN pg_attribute a ON a.attrelid = i.indrelid AND a.attnum = k.attnum
WHERE i.indrelid = %s AND i.indisprimary AND k.position <= i.indnkeyatts
ORDER BY k.position
"""

_UNIQUE = """
SELECT array_agg(a.attname::text)
FROM pg_index i
CROSS JOIN LATERAL unnest(i.indkey) WITH ORDINALITY AS k (attnum, position)
JOIN pg_attribute a ON a.attrelid = i.indrelid AND a.attnum = k.attnum
WHERE i.indrelid = %s AND i.indisunique AND i.indisvalid AND i.indimmediate AND i.indpred IS NULL AND i.indexprs IS NULL
  AND k.position <= i.indnkeyatts
GROUP BY i.indexrelid
HAVING bool_and(a.attnotnull)
"""

_CHILDREN = "SELECT EXISTS (SELECT FROM pg_inherits WHERE inhparent = %s)"

# Without tables of extensions, and without partitions, which are read through their parents.
_ALL = """
SELECT n.nspname, c.relname,
       has_schema_privilege(n.oid, 'USAGE') AND has_table_privilege(c.oid, 'SELECT'),
       has_schema_privilege(n.oid, 'USAGE') AND has_any_column_privilege(c.oid, 'SELECT'),
       EXISTS (SELECT FROM pg_attribute a WHERE a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped),
       row_security_active(c.oid),
       pg_is_in_recovery() AND EXISTS (
           WITH RECURSIVE tree AS (
               SELECT c.oid AS oid UNION SELECT i.inhrelid FROM pg_inherits i JOIN tree ON i.inhparent = tree.oid
           )
           SELECT FROM tree JOIN pg_class part ON part.oid = tree.oid WHERE part.relpersistence = 'u'
       )
FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE c.relkind IN ('r', 'p') AND NOT c.relispartition AND c.relpersistence <> 't'
  AND n.nspname <> 'information_schema' AND n.nspname !~ '^pg_'
  AND NOT EXISTS (SELECT FROM pg_depend d
                  WHERE d.classid = 'pg_class'::regclass AND d.objid = c.oid AND d.deptype = 'e')
ORDER BY 1, 2
"""


_SIZES = """
SELECT n.nspname, c.relname, coalesce(pg_table_size(c.oid), 0)
FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE c.relkind = 'r' AND NOT c.relispartition AND n.nspname <> 'information_schema' AND n.nspname !~ '^pg_'
"""


@dataclass(frozen=True)
class ListedTable:
    name: TableName
    readable: bool
    """Whether this role can read any of its columns."""
    problem: str = ""
    """Why a readable table cannot be copied, as a clause; empty if it can."""


def list_tables(source: Reads) -> list[ListedTable]:
    """Returns all ordinary and partitioned tables of the source, without partitions and views."""
    return [_listed(*row) for row in source.rows(_ALL)]


def _listed(
    schema: str, table: str, may_read: bool, may_read_some: bool, has_columns: bool, policies: bool, unlogged: bool
) -> ListedTable:
    problem = ""
    if not may_read and may_read_some:
        problem = "this role may read only some of its columns; GRANT SELECT on the whole table, see docs/source.md"
    elif not has_columns:
        problem = "it has no columns"
    elif policies:
        problem = "row-level security hides rows of it from this role; give the role BYPASSRLS"
    elif unlogged:
        problem = "it is unlogged, so that a replica has no rows of it; copy it from the primary"
    return ListedTable(TableName(schema, table), may_read or may_read_some, problem)


def table_bytes(source: Reads) -> dict[str, int]:
    """Returns the size on disk in bytes, without indexes, of each ordinary table, by schema.table; without partitioned tables."""
    return {str(TableName(schema, table)): int(size) for schema, table, size in source.rows(_SIZES)}


def find_kind(source: Reads, name: TableName) -> tuple[int, Kind, int | None]:
    """Returns oid, kind and the planner's estimate of rows. Raises SourceRefusedError if the table does not exist or cannot be read."""
    rows = source.rows(_TABLE, (name.schema, name.table))
    if not rows:
        raise SourceRefusedError(
            f"The source has no table {name} that this role can see; correct its name in pipeline.yml or create it"
        )
    oid, kind, estimate, populated = rows[0]
    if not populated:
        raise SourceRefusedError(
            f"{name} is a materialized view without data; REFRESH MATERIALIZED VIEW {name.sql} at the source, or take it out of pipeline.yml"
        )
    return oid, _KINDS[kind], estimate


def estimate_rows(source: Reads, query: str) -> float:
    """How many rows the planner expects of the query, by its statistics and the size of the tables now."""
    ((plans,),) = source.rows(f"EXPLAIN (FORMAT JSON) {query}")
    return float(plans[0]["Plan"]["Plan Rows"])


def read_table(source: Reads, name: TableName) -> SourceTable:
    """Returns the table in the session's snapshot. Raises SourceRefusedError if it is missing or has no column."""
    oid, kind, estimate = find_kind(source, name)
    columns = tuple(_column(row) for row in source.rows(_COLUMNS, (oid,)))
    if not columns:
        raise SourceRefusedError(f"{name} has no columns, so there is nothing to copy; take it out of pipeline.yml")
    key = tuple(row[0] for row in source.rows(_KEY, (oid,)))
    unique = tuple(frozenset(row[0]) for row in source.rows(_UNIQUE, (oid,)))
    has_children = kind == "table" and bool(source.rows(_CHILDREN, (oid,))[0][0])
    return SourceTable(name, kind, oid, estimate, columns, key, unique, has_children)


def _column(row: tuple[Any, ...]) -> SourceColumn:
    name, declared, not_null, typmod, ndims, is_array, typname, typtype, built_in = row
    base = "enum" if typtype == "e" else typname if built_in and typtype == "b" else ""
    # The declared depth is 0 for arrays that come from a view or CREATE TABLE AS.
    dimensions = max(ndims, 1) if is_array else 0
    return SourceColumn(name, declared, not_null, base, typmod, dimensions)
