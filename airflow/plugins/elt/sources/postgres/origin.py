"""Origin of a table's rows: server, database and table, from Postgres' catalogue.

An incremental load may continue the published rows only if they came from the same table of the same source. Names do not prove that: a table may be
recreated, swapped by a rename or restored, and SOURCE_URL may name another server.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from elt.sources.base import Difference
from elt.sources.postgres.catalogue import Reads, SourceTable

# A role may not be allowed to call pg_control_system, such as on some hosted servers.
_MAY_SEE_SYSTEM = "SELECT has_function_privilege('pg_catalog.pg_control_system()', 'EXECUTE')"
_SYSTEM = "SELECT system_identifier::text FROM pg_control_system()"
_DATABASE = "SELECT oid::bigint FROM pg_database WHERE datname = current_database()"

# The table, its partitions and its inheritance children.
_FILES = """
WITH RECURSIVE tree AS (
    SELECT %s::oid AS oid
    UNION SELECT i.inhrelid FROM pg_inherits i JOIN tree ON i.inhparent = tree.oid
)
SELECT c.oid::bigint, coalesce(pg_relation_filenode(c.oid), 0)::bigint, n.nspname || '.' || c.relname
FROM tree JOIN pg_class c ON c.oid = tree.oid JOIN pg_namespace n ON n.oid = c.relnamespace
"""

_COLUMNS = """
SELECT a.attname::text, a.attnum::int,
       CASE WHEN a.attgenerated <> '' THEN coalesce(pg_get_expr(d.adbin, d.adrelid), '') ELSE '' END
FROM pg_attribute a LEFT JOIN pg_attrdef d ON d.adrelid = a.attrelid AND d.adnum = a.attnum
WHERE a.attrelid = %s AND a.attnum > 0 AND NOT a.attisdropped
"""

# Every enum in the columns' types, also inside arrays, domains and composite types.
_LABELS = """
WITH RECURSIVE used AS (
    SELECT a.atttypid AS typid FROM pg_attribute a WHERE a.attrelid = %s AND a.attnum > 0 AND NOT a.attisdropped
    UNION
    SELECT inner_type.typid FROM used JOIN pg_type t ON t.oid = used.typid CROSS JOIN LATERAL (
        SELECT t.typbasetype AS typid WHERE t.typtype = 'd'
        UNION ALL SELECT t.typelem WHERE t.typelem <> 0
        UNION ALL SELECT part.atttypid FROM pg_attribute part
                  WHERE t.typtype = 'c' AND part.attrelid = t.typrelid AND part.attnum > 0 AND NOT part.attisdropped
    ) inner_type
)
SELECT e.oid::bigint, e.enumlabel::text FROM pg_enum e JOIN used ON used.typid = e.enumtypid
"""

_VIEW = "SELECT md5(pg_get_viewdef(%s::oid))"


@dataclass(frozen=True)
class SourceIdentity:
    """Identity of server and database. Stored as JSON in ops.runs."""

    host: str
    """Host and port, as written in SOURCE_URL."""
    system: str
    """Postgres' system identifier, which physical copies share; empty if the role cannot read it."""
    database: int

    def text(self) -> str:
        return json.dumps(asdict(self), separators=(",", ":"), sort_keys=True, ensure_ascii=False)


@dataclass(frozen=True)
class Origin:
    """One table of one source at one instant. Stored as JSON in ops.loads."""

    host: str
    """Host and port, as written in SOURCE_URL."""
    system: str
    """Postgres' system identifier, which physical copies share; empty if the role cannot read it."""
    database: int
    table: int
    files: Mapping[str, int]
    """Relfilenode by oid, of the table and of each partition and child; 0 without a file."""
    names: Mapping[str, str]
    """Name by oid, of the same relations."""
    columns: Mapping[str, list[Any]]
    """Number and generating expression by name."""
    labels: Mapping[str, str] = field(default_factory=dict)
    """Labels of enums by oid."""
    view: str = ""
    """Hash of a view's definition."""

    def text(self) -> str:
        return json.dumps(asdict(self), separators=(",", ":"), sort_keys=True, ensure_ascii=False)


def read_identity(source: Reads, host: str) -> SourceIdentity:
    """Returns the identity of the source; `host` is host and port of SOURCE_URL."""
    system = str(source.rows(_SYSTEM)[0][0]) if source.rows(_MAY_SEE_SYSTEM)[0][0] else ""
    return SourceIdentity(host, system, int(source.rows(_DATABASE)[0][0]))


def other_source(was: SourceIdentity | Origin, now: SourceIdentity | Origin, *, any_host: bool) -> str:
    """Returns why `now` is not the source of `was`, as a clause; empty if it is."""
    if was.system != now.system or was.database != now.database:
        return f"it was copied from another database ({was.host}), and comes from {now.host} now"
    if was.host != now.host and not (any_host and now.system):
        return f"it was copied from {was.host} and comes from {now.host} now (any_host: true in pipeline.yml says that both are one server)"
    return ""


def read_origin(source: Reads, table: SourceTable, host: str) -> Origin:
    """Returns the origin of a table in the session's transaction."""
    oid = table.oid
    server = read_identity(source, host)
    tree = source.rows(_FILES, (oid,))
    return Origin(
        server.host,
        server.system,
        server.database,
        oid,
        {str(one): int(file) for one, file, _ in tree},
        {str(one): str(name) for one, _, name in tree},
        {str(name): [number, expression] for name, number, expression in source.rows(_COLUMNS, (oid,))},
        {str(label): str(text) for label, text in source.rows(_LABELS, (oid,))},
        str(source.rows(_VIEW, (oid,))[0][0]) if table.kind in ("view", "materialized view") else "",
    )


def compare(before: str, now: Origin, copied: frozenset[str], *, any_host: bool) -> Difference:
    """Compares an origin with `before`, an origin as text. An empty `before`, of a load by an older version, is trusted once.

    Only `copied` columns count. With `any_host`, servers are compared by their system identifier alone.
    """
    if not before:
        return Difference()
    try:
        was = Origin(**json.loads(before))
    except (TypeError, ValueError):
        return Difference("it was copied from a source of another kind")
    if reason := other_source(was, now, any_host=any_host):
        return Difference(reason)
    if was.table != now.table:
        return Difference("it is another table under the same name: made anew, restored, or swapped by a rename")
    if was.view != now.view:
        return Difference("the definition of the view has changed")
    rewritten = [now.names[oid] for oid, file in now.files.items() if was.files.get(oid, file) != file]
    if rewritten:
        return Difference(f"{', '.join(rewritten)} was emptied or rewritten at the source")
    changed = [name for name, facts in now.columns.items() if name in copied and was.columns.get(name, facts) != facts]
    if changed:
        return Difference(f"column {', '.join(changed)} was made anew, or is computed in another way")
    renamed = [text for oid, text in was.labels.items() if now.labels.get(oid) != text]
    if renamed:
        return Difference(f"the enum label {', '.join(repr(text) for text in renamed)} was renamed")
    return Difference(
        attached=tuple(int(oid) for oid in now.files if oid not in was.files),
        detached=tuple(was.names[oid] for oid in was.files if oid not in now.files),
    )
