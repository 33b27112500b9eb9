"""Exports Superset's content. Importing this module imports Superset."""

from collections.abc import Collection, Iterator
from typing import Any

import yaml
from superset.app import create_app

from provisioning.stamp import Asset
from provisioning.steps import ADMIN


def exported(ours: Collection[Asset]) -> list[tuple[str, dict[str, Any]]]:
    """Returns (kind, asset) of all assets from files, and of every published dashboard with its charts, datasets and databases."""
    with create_app().app_context():
        from superset.utils.core import override_user

        from superset import security_manager

        # Superset exports only what the current user may see.
        with override_user(security_manager.find_user(ADMIN)):
            return list(_exported(ours))


def _exported(ours: Collection[Asset]) -> Iterator[tuple[str, dict[str, Any]]]:
    from superset.commands.chart.export import ExportChartsCommand
    from superset.commands.dashboard.export import ExportDashboardsCommand
    from superset.commands.database.export import ExportDatabasesCommand
    from superset.commands.dataset.export import ExportDatasetsCommand
    from superset.connectors.sqla.models import SqlaTable
    from superset.extensions import db
    from superset.models.core import Database
    from superset.models.dashboard import Dashboard
    from superset.models.slice import Slice

    def of_files(kind: str, model: Any) -> set[Any]:
        keys = [key for one, key in ours if one == kind]
        return set(db.session.query(model).filter(model.uuid.in_(keys)))

    dashboards = of_files("dashboards", Dashboard) | set(db.session.query(Dashboard).filter_by(published=True))
    charts = of_files("charts", Slice) | {chart for dashboard in dashboards for chart in dashboard.slices}
    datasets = of_files("datasets", SqlaTable) | {chart.table for chart in charts if chart.table}
    databases = of_files("databases", Database) | {dataset.database for dataset in datasets}
    commands = {
        "databases": (ExportDatabasesCommand, databases),
        "datasets": (ExportDatasetsCommand, datasets),
        "charts": (ExportChartsCommand, charts),
        "dashboards": (ExportDashboardsCommand, dashboards),
    }
    for kind, (command, rows) in commands.items():
        for row in sorted(rows, key=lambda row: str(row.uuid)):
            yield kind, yaml.safe_load(command._file_content(row))
