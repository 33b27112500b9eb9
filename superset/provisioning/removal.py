"""Deletes assets whose files were removed; keeps what people made by hand. Importing this module imports Superset."""

from collections.abc import Callable, Iterable
from typing import Any

from superset.connectors.sqla.models import RowLevelSecurityFilter, SqlaTable
from superset.extensions import db
from superset.models.core import Database
from superset.models.dashboard import Dashboard
from superset.models.slice import Slice
from superset.models.sql_lab import SavedQuery

from superset import security_manager

# In the order of deletion: each kind may refer to later ones. Roles are identified by their names,
# and so are the row-level rules that earlier versions provisioned.
MODELS: dict[str, Any] = {
    "dashboards": Dashboard,
    "charts": Slice,
    "queries": SavedQuery,
    "rules": RowLevelSecurityFilter,
    "datasets": SqlaTable,
    "databases": Database,
    "roles": security_manager.role_model,
}


def _needed_by(kind: str, row: Any) -> str:
    """Returns names of people's content that needs the row; '' if nothing does."""
    if kind == "datasets":
        charts = db.session.query(Slice).filter_by(datasource_id=row.id, datasource_type="table").all()
        return ", ".join(chart.slice_name for chart in charts)
    if kind == "databases":
        tables = db.session.query(SqlaTable).filter_by(database_id=row.id).all()
        return ", ".join(table.table_name for table in tables)
    return ""


def remove(gone: Iterable[tuple[str, str]], say: Callable[[str], None]) -> list[tuple[str, str]]:
    """Deletes assets, given as (kind, uuid). Returns those that it keeps because people's content needs them."""
    kept = []
    wanted = set(gone)
    for kind, model in MODELS.items():
        for key in sorted(key for one, key in wanted if one == kind):
            row = (
                db.session.query(model)
                .filter_by(**{"name" if kind in ("rules", "roles") else "uuid": key})
                .one_or_none()
            )
            if row is None:
                continue
            # The others are known by a UUID.
            name = key if kind in ("rules", "roles") else row
            needed = _needed_by(kind, row)
            if needed:
                say(f"Keeping {name} of {kind}, whose file is gone, because {needed} needs it.")
                kept.append((kind, key))
                continue
            say(f"Removing {name} of {kind}, whose file is gone")
            db.session.delete(row)
            db.session.flush()
    db.session.commit()
    return kept
