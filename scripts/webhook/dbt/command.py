"""dbt's arguments and environment."""

import json
from collections.abc import Mapping
from pathlib import Path

from webhook.queue.runs import RunRequest
from webhook.settings import Settings

TARGET = "prod"
# Documents what is published; prod names what is built beside it.
DOCS_TARGET = "docs"

_VERBS = {"build": ["build"], "test": ["test"], "docs": ["docs", "generate"]}
# host.py prints the events.
_QUIET = [
    *("--log-level", "none", "--log-level-file", "none", "--no-use-colors"),
    *("--no-send-anonymous-usage-stats", "--no-version-check"),
]
# Variables that dbt and the project read, and no others: a model can read its environment by env_var(), and must be able neither to start
# runs (WEBHOOK_TOKEN) nor to write the journal of published marts (CLICKHOUSE_WEBHOOK_PASSWORD).
_NAMES = {
    *("PATH", "LANG", "LC_ALL", "TZ", "TMPDIR", "SSL_CERT_FILE"),
    *("CLICKHOUSE_HOST", "CLICKHOUSE_HTTP_PORT", "CLICKHOUSE_SECURE", "CLICKHOUSE_DBT_PASSWORD"),
    *("CLICKHOUSE_DATABASE_ENGINE", "CLICKHOUSE_TABLE_ENGINE"),
    *("SHOP_TIMEZONE", "SHOP_CURRENCY", "SAMPLE_SHOP"),
}
# For variables of people's own: https://docs.getdbt.com/docs/build/environment-variables
_OWN = "DBT_ENV_"


def dbt_arguments(request: RunRequest, settings: Settings) -> list[str]:
    """Returns dbt's arguments for a request. Selectors were validated: none begins with a hyphen."""
    arguments = [
        *_QUIET,
        *_VERBS[request.command],
        *("--target", DOCS_TARGET if request.command == "docs" else TARGET),
        *("--project-dir", str(settings.project), "--profiles-dir", str(settings.project)),
        *("--target-path", str(target_path(request, settings)), "--log-path", str(settings.home / "dbt-logs")),
    ]
    if request.command != "docs":
        # Nobody reads dbt's artifacts: nodes come as events, and the project was parsed before.
        arguments.append("--no-write-json")
    if request.full_refresh:
        arguments.append("--full-refresh")
    if request.command == "build":
        # Unit tests check the logic, not the data: developers run them.
        # Exposures build nothing.
        arguments += ["--exclude-resource-type", "unit_test", "--exclude-resource-type", "exposure"]
    if request.vars:
        # One argument that dbt parses as YAML; JSON is valid YAML.
        arguments += ["--vars", json.dumps(request.vars, sort_keys=True)]
    for option, items in (("--select", request.select), ("--exclude", request.exclude)):
        if items:
            arguments += [option, *items]
    return arguments


def parsed_target(request: RunRequest) -> str | None:
    """Returns the target whose parsed project the request can use; None for another target or with vars, which change the parse."""
    return None if request.vars or request.command == "docs" else TARGET


def target_path(request: RunRequest, settings: Settings) -> Path:
    """Returns dbt's target folder. Another kind of parse has its own, so that it does not overwrite the warm one."""
    if request.vars:
        return settings.dbt_target.with_name("target-vars")
    return settings.documentation_target if request.command == "docs" else settings.dbt_target


def documentation_arguments(settings: Settings) -> list[str]:
    """Returns dbt's arguments for the one-page documentation of the project and its present tables."""
    return [
        *_QUIET,
        *("docs", "generate", "--static", "--target", DOCS_TARGET),
        *("--project-dir", str(settings.project), "--profiles-dir", str(settings.project)),
        *("--target-path", str(settings.documentation_target), "--log-path", str(settings.home / "dbt-logs")),
    ]


def dbt_environment(environ: Mapping[str, str], settings: Settings) -> dict[str, str]:
    """Returns the part of the worker's environment that dbt gets."""
    kept = {name: value for name, value in environ.items() if name in _NAMES or name.startswith(_OWN)}
    return kept | {"HOME": str(settings.home), "PYTHONUNBUFFERED": "1", "PYTHONUTF8": "1"}
