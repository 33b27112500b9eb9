"""Statements on the tables of `raw` that a load makes: before it streams, and after."""

from __future__ import annotations

from datetime import datetime

from warehouse.quoting import literal, quote

from elt.mapping import LOADED_COLUMN, PAD, RUN_COLUMN, TableMapping, wire_name
from elt.pipeline.names import raw

_WHILE_LOADED = {"min_parts_to_merge_at_once": 100, "min_bytes_for_wide_part": 100_000_000}
"""Settings of a table while it is loaded.

Its parts wait to be merged: each row is written again once, not several times, and not while Postgres needs the processor.
Merges of so many parts go on, so that a load of any size stays far from "too many parts". And each part is one file, not two
for each column: a tenth of what the warehouse does for a wide table. The merges that follow make files by column.
"""


def create(mapping: TableMapping, name: str, run: int, loaded_at: datetime, *, changes: bool = False) -> str:
    """CREATE TABLE of a loading table. The loader's two columns are constants of it and are not sent.

    With `changes` it is one for the changed rows of an incremental table: never published, and its parts fit into the clone.
    """
    lines = []
    for i, column in enumerate(mapping.columns):
        kind, comment = column.clickhouse, literal(column.declared)
        if column.convert is None:
            lines.append(f"{quote(column.name)} {kind} COMMENT {comment}")
            continue
        wire = quote(wire_name(i, column))
        sent = "Nullable(String)" if kind.startswith("Nullable(") or "ifNull(" in column.convert else "String"
        default = column.convert.replace("{wire}", wire)
        lines.append(f"{quote(column.name)} {kind} DEFAULT {default} COMMENT {comment}")
        lines.append(f"{wire} {sent} EPHEMERAL")
    if PAD in mapping.wire:
        lines.append(f"{PAD} UInt8 EPHEMERAL")
    stamp = loaded_at.strftime("%Y-%m-%d %H:%M:%S.%f")
    lines.append(f"{RUN_COLUMN} UInt64 DEFAULT {run} COMMENT 'Run that loaded the row: ops.runs'")
    lines.append(
        f"{LOADED_COLUMN} DateTime64(6, 'UTC') DEFAULT toDateTime64('{stamp}', 6, 'UTC') COMMENT 'Start of the load, UTC'"
    )
    order = ", ".join(quote(name) for name in mapping.order)
    body = ",\n    ".join(lines)
    engine = f"ReplacingMergeTree({RUN_COLUMN})" if mapping.incremental and not changes else "MergeTree"
    partition = f"PARTITION BY {mapping.entry.partition_by}\n" if mapping.entry.partition_by else ""
    settings = ", ".join(f"{name} = {value}" for name, value in _WHILE_LOADED.items())
    return (
        f"CREATE TABLE {raw(name)}\n(\n    {body}\n)\nENGINE = {engine}\n{partition}ORDER BY ({order})\n"
        f"SETTINGS {settings}\nCOMMENT {literal(f'Copy of {mapping.name}')}"
    )


def clone(loading: str, target: str) -> str:
    """CREATE TABLE of a loading table that begins as what is published and shares its parts."""
    return f"CREATE TABLE {raw(loading)} CLONE AS {raw(target)}"


def finalize_table(mapping: TableMapping, name: str) -> list[str]:
    """Statements that take the loader's scaffolding out of a loaded table: defaults first, then what they read. Merges begin."""
    converted = [(i, column) for i, column in enumerate(mapping.columns) if column.convert is not None]
    names = [column.name for _, column in converted] + [RUN_COLUMN, LOADED_COLUMN]
    changes = [f"MODIFY COLUMN {quote(n)} REMOVE DEFAULT" for n in names]
    statements = [f"ALTER TABLE {raw(name)} {', '.join(changes)}, RESET SETTING {', '.join(_WHILE_LOADED)}"]
    scaffolding = [wire_name(i, mapped) for i, mapped in converted] + ([PAD] if PAD in mapping.wire else [])
    if scaffolding:
        dropped = ", ".join(f"DROP COLUMN {quote(column)}" for column in scaffolding)
        statements.append(f"ALTER TABLE {raw(name)} {dropped}")
    return statements
