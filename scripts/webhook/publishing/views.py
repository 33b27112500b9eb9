"""Views of a build: before publication they must read the published names instead of the build's."""

import re
from collections.abc import Set

from warehouse.client import Warehouse

from webhook.publishing.names import DATABASE, MARK, PLACE, published_name

_BUILT = re.compile(rf"\b{DATABASE}\.(`?)(\w+){MARK}\1(?!\w)")


class ViewError(Exception):
    """A view reads a relation that will not exist; the message names both."""


def point_to_published(warehouse: Warehouse, built: Set[str]) -> bool:
    """Recreates each view of the build so that it reads published names. `built` are the build's names. Returns whether there was any view.

    Until its publication nobody reads the view, so it may read older tables or missing ones meanwhile. Raises ViewError.
    """
    rows = warehouse.rows(
        "SELECT name, create_table_query FROM system.tables"
        " WHERE database = {database:String} AND engine = 'View' AND name IN {names:Array(String)}",
        {"database": DATABASE, "names": sorted(built)},
    )
    statements = [statement for name, query in rows if (statement := rewritten(name, query, built)) is not None]
    for statement in statements:
        warehouse.command(statement)
    return bool(statements)


def rewritten(name: str, query: str, built: Set[str]) -> str | None:
    """Returns the statement that recreates the view, made from ClickHouse's CREATE VIEW; None if it reads nothing of the build."""
    match = re.match(rf"CREATE VIEW {DATABASE}\.`?{re.escape(name)}`?(?=[\s(])", query)
    if match is None:
        raise ViewError(f"{DATABASE}.{name} is not a view as ClickHouse writes them: {query[:100]}")
    body = query[match.end() :]
    foreign = {found[2] + MARK for found in _BUILT.finditer(body)} - built
    if foreign:
        raise ViewError(
            f"View {published_name(name)} reads {', '.join(sorted(foreign))}, which this build did not make:"
            " refer to models by ref()"
        )
    if not _BUILT.search(body):
        return None
    return f"CREATE OR REPLACE VIEW {PLACE.quoted(name)}" + _BUILT.sub(rf"{DATABASE}.`\2`", body)
