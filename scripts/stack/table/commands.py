"""Commands of the services, for native runs and containers. Standard library only.

A command is built from the service's environment; both ways differ only in the address to listen on. In containers Postgres and ClickHouse's
own server are not here: their images start them.
"""

from collections.abc import Callable, Mapping

Command = list[str]
Names = Mapping[str, str]


def _airflow(*words: str) -> Callable[[str, str, Names], list[Command]]:
    return lambda python, repo, env: [[python, "-m", "airflow", *words]]


def _airflow_init(python: str, repo: str, env: Names) -> list[Command]:
    elt = [python, "-m", "elt"]
    return [[python, f"{repo}/airflow/provision.py"], [*elt, "recover"], [*elt, "plan"]]


def _clickhouse_server(python: str, repo: str, env: Names) -> list[Command]:
    if env.get("CLICKHOUSE_BINARY"):
        server = [env["CLICKHOUSE_BINARY"], "server", "--config-file", env["CLICKHOUSE_SERVER_CONFIG"]]
        return [[*server, "--", "--logger.console=1", "--logger.level=warning"]]
    return [[python, "-m", "embedded"]]


def _clickhouse_init(python: str, repo: str, env: Names) -> list[Command]:
    return [[python, "-m", "stack.warehouse_init"]]


def _webhook_server(python: str, repo: str, env: Names) -> list[Command]:
    words = ["--bind", f"{env['BIND_ADDRESS']}:{env['WEBHOOK_PORT']}", "--workers", "1", "--worker-class", "gthread"]
    words += ["--threads", "16", "--graceful-timeout", "10", "--no-control-socket", "webhook_server:app"]
    return [[python, "-m", "gunicorn", *words]]


def _webhook_worker(python: str, repo: str, env: Names) -> list[Command]:
    return [[python, "-m", "webhook.worker"]]


def _elt_agent(python: str, repo: str, env: Names) -> list[Command]:
    return [[python, "-m", "agent"]]


def _superset_init(python: str, repo: str, env: Names) -> list[Command]:
    return [[python, f"{repo}/superset/provision.py"]]


def _superset(python: str, repo: str, env: Names) -> list[Command]:
    config = f"{repo}/superset/config/gunicorn_conf.py"
    return [[python, "-m", "gunicorn", "--config", config, "superset.app:create_app()"]]


# Service -> (its virtual environment, its commands). A one-shot may have several, which run one after the other.
TABLE: dict[str, tuple[str, Callable[[str, str, Names], list[Command]]]] = {
    "clickhouse-server": ("clickhouse", _clickhouse_server),
    "clickhouse-init": ("scripts", _clickhouse_init),
    "webhook-server": ("dbt", _webhook_server),
    "webhook-worker": ("dbt", _webhook_worker),
    "airflow-init": ("airflow", _airflow_init),
    "airflow-webserver": ("airflow", _airflow("api-server", "--proxy-headers")),
    "airflow-scheduler": ("airflow", _airflow("scheduler", "--skip-serve-logs")),
    "airflow-dag-processor": ("airflow", _airflow("dag-processor")),
    "elt-agent": ("airflow", _elt_agent),
    "superset-init": ("superset", _superset_init),
    "superset": ("superset", _superset),
}


def commands(name: str, *, python: str, repo: str, env: Names) -> list[Command]:
    """Returns the commands of service `name`. Raises KeyError for an unknown service or a missing variable in `env`."""
    return TABLE[name][1](python, repo, env)
