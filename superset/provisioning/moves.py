"""Moves datasets on `ops` from the database Warehouse to Operations. Importing this module imports Superset."""

import re
from collections.abc import Callable, Mapping

from superset.connectors.sqla.models import SqlaTable
from superset.extensions import db
from superset.models.core import Database

from provisioning.references import parse

READS_OPS = re.compile(r"\bops\s*\.", re.IGNORECASE)


def _operations(contents: Mapping[str, str]) -> Database:
    """Returns the database of the file; creates it if the import, which comes later, has not done so."""
    asset = parse(contents)["databases/operations.yaml"]
    row = db.session.query(Database).filter_by(uuid=asset["uuid"]).one_or_none()
    if row is None:
        row = Database(uuid=asset["uuid"], database_name=asset["database_name"], sqlalchemy_uri=asset["sqlalchemy_uri"])
        db.session.add(row)
        db.session.flush()
    return row


def move_operations(contents: Mapping[str, str], say: Callable[[str], None]) -> None:
    """Moves datasets on `ops`, made when one warehouse user read both `analytics` and `ops`; Superset's import does not move a dataset.

    Names datasets of other schemas whose SQL reads `ops`: they fail until somebody changes them.
    """
    warehouse = db.session.query(Database).filter_by(database_name="Warehouse").one_or_none()
    for dataset in db.session.query(SqlaTable).filter_by(database=warehouse).all() if warehouse else ():
        if dataset.schema == "ops":
            say(f"Moving dataset {dataset.table_name} to database Operations, which reads ops")
            dataset.database = _operations(contents)
        elif READS_OPS.search(dataset.sql or ""):
            say(
                f"Dataset {dataset.table_name} reads ops in its SQL, which database Warehouse cannot any more: "
                "make it anew on database Operations, with tables of ops alone."
            )
    db.session.commit()
