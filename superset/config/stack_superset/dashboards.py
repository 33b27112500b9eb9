"""What opening a dashboard asks for again and again although it stays the same: answered without asking the warehouse, or not asked twice."""

from pathlib import Path
from typing import Any

from jinja2 import ChoiceLoader, FileSystemLoader

TEMPLATES = Path(__file__).with_name("templates")

# As long as Superset's own cache of the data.
KEPT_SECONDS = 300
DRILLING = "DatasetRestApi.get_drill_info"
# What days "Last quarter" is: a page asks it for each chart, to show it at a filter's sign. It may be an hour up to now, so not for long.
PERIOD = "Api.time_range"
PERIOD_SECONDS = 60
# The two questions of the menu of each page: may files be uploaded, is there a database. The list of databases itself is always asked.
MENU = (
    "(filters:!((col:allow_file_upload,opr:upload_is_enabled,value:!t)))",
    "(filters:!((col:database_name,opr:neq,value:examples)))",
)


def _kept_by_the_browser(response: Any) -> Any:
    from flask import request

    of_menu = request.endpoint == "DatabaseRestApi.get_list" and request.args.get("q") in MENU
    kept = {DRILLING: KEPT_SECONDS, PERIOD: PERIOD_SECONDS}
    seconds = KEPT_SECONDS if of_menu else kept.get(request.endpoint or "")
    if request.method == "GET" and response.status_code == 200 and seconds:
        response.headers["Cache-Control"] = f"private, max-age={seconds}"
        # Another person at the same browser asks anew.
        response.vary.add("Cookie")
    return response


def open_quickly(app: Any) -> None:
    """A FLASK_APP_MUTATOR. Raises AttributeError when a newer Superset has no such hook any more."""
    from clickhouse_connect.cc_sqlalchemy.dialect import ClickHouseDialect
    from superset.db_engine_specs.clickhouse import ClickHouseConnectEngineSpec

    asked = ClickHouseConnectEngineSpec.get_default_schema

    def known(_spec: type, database: Any, catalog: str | None) -> Any:
        """The database of the connection's URL. Superset opens a connection and asks, for each chart on a virtual dataset, be it out of the
        cache; the answer is the same."""
        return database.url_object.database or asked(database, catalog)

    ClickHouseConnectEngineSpec.get_default_schema = classmethod(known)
    of_server = ClickHouseDialect._get_default_schema_name

    def of_client(dialect: Any, connection: Any) -> Any:
        """The database that the client was opened with. SQLAlchemy asks for it with each new engine, and Superset makes one for each question."""
        return connection.connection.client.database or of_server(dialect, connection)

    ClickHouseDialect._get_default_schema_name = of_client
    app.jinja_loader = ChoiceLoader([FileSystemLoader(TEMPLATES), app.jinja_loader])
    app.after_request(_kept_by_the_browser)
