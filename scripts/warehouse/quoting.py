"""Names and texts as they stand in ClickHouse's SQL."""

from __future__ import annotations


def quote(name: str) -> str:
    """An identifier."""
    return "`" + name.replace("\\", "\\\\").replace("`", "\\`") + "`"


def qualified(database: str, table: str) -> str:
    """A table of a database of ours, whose name needs no quotes."""
    return f"{database}.{quote(table)}"


def literal(text: str) -> str:
    """A string."""
    return "'" + text.replace("\\", "\\\\").replace("'", "\\'") + "'"
