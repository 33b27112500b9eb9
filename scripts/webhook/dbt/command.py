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
# What dbt and the project read; above all not WEBHOOK_TOKEN.
_NAMES = {"PATH", "LANG", "LC_ALL", "TZ", "TMPDIR", "SSL_CERT_FILE", "SAMPLE_SHOP"}
_PREFIXES = ("CLICKHOUSE_", "SHOP_", "DBT_ENV_")
# A model reads the environment by env_var(), and must not write the journal by which the worker swaps marts.
_KEPT_BACK = {"CLICKHOUSE_WEBHOOK_PASSWORD"}


def dbt_arguments(request: RunRequest, settings: Settings) -> list[str]:
    """dbt's arguments for a request. Selectors were validated: none begins with a hyphen."""
    arguments = [
        *_QUIET,
        *_VERBS[request.command],
        *("--target", DOCS_TARGET if request.command == "docs" else TARGET),
        *("--project-dir", str(settings.project), "--profiles-dir", str(settings.project)),
        *("--target-path", str(target_path(request, settings)), "--log-path", str(settings.home / "dbt-logs")),
    ]
    if request.command != "docs":
        # Nobody reads them: a run's nodes come as events, and the project was parsed before.
        arguments.append("--no-write-json")
    if request.full_refresh:
        arguments.append("--full-refresh")
    if request.command == "build":
        # Unit tests check the logic, not the data: they are for those who change it.
        # Exposures are descriptions, with nothing to build.
        arguments += ["--exclude-resource-type", "unit_test", "--exclude-resource-type", "exposure"]
    if request.vars:
        # One word, which dbt reads as YAML; JSON with its escapes is that.
        arguments += ["--vars", json.dumps(request.vars, sort_keys=True)]
    for option, items in (("--select", request.select), ("--exclude", request.exclude)):
        if items:
            arguments += [option, *items]
    return arguments


def parsed_target(request: RunRequest) -> str | None:
    """The target whose parsed project serves the request; None for another target, and with vars: the parse depends on both."""
    return None if request.vars or request.command == "docs" else TARGET


def target_path(request: RunRequest, settings: Settings) -> Path:
    """Where dbt keeps what it parsed and did. A parse of another kind must not push out the one that is warm."""
    if request.vars:
        return settings.dbt_target.with_name("target-vars")
    return settings.documentation_target if request.command == "docs" else settings.dbt_target


def documentation_arguments(settings: Settings) -> list[str]:
    """dbt's arguments for one page that documents the project and the tables as they are now."""
    return [
        *_QUIET,
        *("docs", "generate", "--static", "--target", DOCS_TARGET),
        *("--project-dir", str(settings.project), "--profiles-dir", str(settings.project)),
        *("--target-path", str(settings.documentation_target), "--log-path", str(settings.home / "dbt-logs")),
    ]


def dbt_environment(environ: Mapping[str, str], settings: Settings) -> dict[str, str]:
    """The part of the worker's environment that dbt gets."""
    kept = {
        name: value
        for name, value in environ.items()
        if (name in _NAMES or name.startswith(_PREFIXES)) and name not in _KEPT_BACK
    }
    return kept | {"HOME": str(settings.home), "PYTHONUNBUFFERED": "1", "PYTHONUTF8": "1"}
