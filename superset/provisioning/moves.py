"""Moves hand-made datasets on `ops` from the database Warehouse to Operations. Importing this module imports Superset."""

import re
from collections.abc import Callable

from superset.connectors.sqla.models import SqlaTable
from superset.extensions import db
from superset.models.core import Database

READS_OPS = re.compile(r"\bops\s*\.", re.IGNORECASE)


def move_operations(say: Callable[[str], None]) -> None:
    """Keeps charts working that were made while one user of the warehouse read both `analytics` and `ops`.

    Says which datasets moved, and which ones read `ops` in their SQL but belong to another schema: those fail until a person changes them.
    """
    databases = {row.database_name: row for row in db.session.query(Database)}
    for dataset in db.session.query(SqlaTable).filter_by(database=databases["Warehouse"]):
        if dataset.schema == "ops":
            say(f"Moving dataset {dataset.table_name} to database Operations: Warehouse does not read ops any more")
            dataset.database = databases["Operations"]
        elif READS_OPS.search(dataset.sql or ""):
            say(
                f"Dataset {dataset.table_name} reads ops in its SQL, which database Warehouse cannot any more; "
                "make it anew on database Operations, with the tables of ops alone."
            )
    db.session.commit()
