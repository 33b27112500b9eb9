"""The one table of services: for each its command, the names it may see, its health and what it waits for.

Natively `stack.launch` starts a row's command under the supervisor. One-shots run to their end at every boot.
A service sees the names in `reads` as they stand in `.env`, those in `computed`, and nothing else of `.env`.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

from stack import health, postgres
from stack.env_file import Env
from stack.paths import Paths


@dataclass(frozen=True)
class Context:
    """What a row of the table is made from: where things lie, and the validated `.env`."""

    paths: Paths
    env: Env


Command = list[str]


def _no_names(_: Context) -> Mapping[str, str]:
    return {}


def _always(_: Env) -> bool:
    return True


@dataclass(frozen=True)
class Service:
    """A long-lived service, or a one-shot that must end well before those after it start."""

    name: str
    commands: Callable[[Context], list[Command]]
    reads: tuple[str, ...] = ()
    computed: Callable[[Context], Mapping[str, str]] = _no_names
    after: tuple[str, ...] = ()
    one_shot: bool = False
    healthy: health.Check | None = None
    port: str | None = None
    watches: tuple[str, ...] = ()
    stop_signal: str = "TERM"
    stop_seconds: int = 15
    enabled: Callable[[Env], bool] = _always
    # What `scripts/exec` adds for people, such as where a client finds the server.
    for_people: Callable[[Context], Mapping[str, str]] = _no_names


# --- Names that several services get ------------------------------------------------------------------------------

SHOP = ("SHOP_TIMEZONE", "SHOP_CURRENCY", "SAMPLE_SHOP")


def _warehouse(context: Context) -> dict[str, str]:
    env = context.env
    return {
        "CLICKHOUSE_HOST": env.clickhouse_host,
        "CLICKHOUSE_HTTP_PORT": env.text("CLICKHOUSE_HTTP_PORT"),
        "CLICKHOUSE_SECURE": env.CLICKHOUSE_SECURE,
    }


# --- Postgres -----------------------------------------------------------------------------------------------------


def _postgres_commands(context: Context) -> list[Command]:
    data = context.paths.data / "postgres"
    binaries = postgres.find_binaries(context.paths.venvs, data)
    return [postgres.server_command(binaries, data, port=context.env.POSTGRES_PORT, bind=context.env.BIND_ADDRESS)]


def _postgres_client_names(context: Context) -> dict[str, str]:
    env = context.env
    return {
        "PGHOST": env.address,
        "PGPORT": env.text("POSTGRES_PORT"),
        "PGUSER": env.POSTGRES_USER,
        "PGDATABASE": env.POSTGRES_DB,
        "PGPASSWORD": env.POSTGRES_PASSWORD,
    }


# --- ClickHouse ---------------------------------------------------------------------------------------------------


def _clickhouse_commands(context: Context) -> list[Command]:
    return [[str(context.paths.python("clickhouse")), "-m", "embedded"]]


def _clickhouse_names(context: Context) -> dict[str, str]:
    repo = context.paths.repo
    return {
        "PYTHONPATH": str(repo / "clickhouse"),
        "CLICKHOUSE_PATH": str(context.paths.data / "clickhouse"),
        "CLICKHOUSE_CONFIG": str(repo / "clickhouse" / "config"),
    }


def _clickhouse_init_commands(context: Context) -> list[Command]:
    return [[str(context.paths.python("scripts")), "-m", "stack.warehouse_init"]]


def _clickhouse_init_names(context: Context) -> dict[str, str]:
    return {"PYTHONPATH": str(context.paths.repo / "scripts"), **_warehouse(context)}


# --- The loader and Airflow ---------------------------------------------------------------------------------------

LOADER = ("CLICKHOUSE_LOADER_PASSWORD", "MASK_SALT", "NOTIFY_URL", *SHOP)
AIRFLOW = (*LOADER, "AIRFLOW_PORT", "BIND_ADDRESS", "ELT_SCHEDULE", "WEBHOOK_TOKEN")
AIRFLOW_FILES = ("airflow/requirements.lock", "airflow/config", "airflow/plugins", "airflow/provision.py")


def _loader_names(context: Context) -> dict[str, str]:
    repo = context.paths.repo
    return {
        "PYTHONPATH": str(repo / "airflow" / "plugins"),
        "SOURCE_URL": context.env.source_url,
        "ELT_PIPELINE": str(repo / "pipeline.yml"),
        "ELT_PLAN": str(context.paths.data / "airflow" / "plan.json"),
        **_warehouse(context),
    }


def _constant_names(context: Context) -> dict[str, str]:
    """The settings of Airflow that are the same on every machine, from airflow/config/airflow.env."""
    lines = (context.paths.repo / "airflow" / "config" / "airflow.env").read_text().splitlines()
    pairs = (line.partition("=") for line in lines if line and not line.startswith("#"))
    return {name: value for name, _, value in pairs}


def _airflow_names(context: Context) -> dict[str, str]:
    env, repo = context.env, context.paths.repo
    page = f"http://{env.address}:{env.AIRFLOW_PORT}"
    password = quote(env.AIRFLOW_DB_PASSWORD, safe="")
    return {
        **_constant_names(context),
        **_loader_names(context),
        "AIRFLOW_HOME": str(context.paths.data / "airflow"),
        "AIRFLOW__CORE__DAGS_FOLDER": str(repo / "airflow" / "dags"),
        "AIRFLOW__CORE__EXECUTION_API_SERVER_URL": f"{page}/execution/",
        "AIRFLOW__CORE__FERNET_KEY": env.AIRFLOW_FERNET_KEY,
        "AIRFLOW__API__BASE_URL": page,
        "AIRFLOW__API__HOST": env.BIND_ADDRESS,
        "AIRFLOW__API__PORT": env.text("AIRFLOW_PORT"),
        "AIRFLOW__API__SECRET_KEY": env.AIRFLOW_API_SECRET_KEY,
        "AIRFLOW__API_AUTH__JWT_SECRET": env.AIRFLOW_JWT_SECRET,
        "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": (
            f"postgresql+psycopg2://airflow:{password}@{env.address}:{env.POSTGRES_PORT}/airflow"
        ),
        "AIRFLOW__LOGGING__BASE_LOG_FOLDER": str(context.paths.logs / "airflow"),
        "WEBHOOK_URL": f"http://{env.address}:{env.WEBHOOK_PORT}",
    }


def _airflow(*words: str) -> Callable[[Context], list[Command]]:
    return lambda context: [[str(context.paths.python("airflow")), "-m", "airflow", *words]]


def _airflow_init_commands(context: Context) -> list[Command]:
    python = str(context.paths.python("airflow"))
    return [
        [python, str(context.paths.repo / "airflow" / "provision.py")],
        [python, "-m", "elt", "recover"],
        [python, "-m", "elt", "plan"],
    ]


# --- The webhook --------------------------------------------------------------------------------------------------

WEBHOOK = ("CLICKHOUSE_DBT_PASSWORD", "WEBHOOK_TOKEN", *SHOP)
WEBHOOK_FILES = ("scripts/webhook", "scripts/webhook_server.py", "dbt/requirements.lock")


def _webhook_names(context: Context) -> dict[str, str]:
    project = str(context.paths.repo / "dbt")
    return {
        **_warehouse(context),
        "PYTHONPATH": str(context.paths.repo / "scripts"),
        "WEBHOOK_HOME": str(context.paths.data / "webhook"),
        "DBT_PROJECT_DIR": project,
        "DBT_PROFILES_DIR": project,
    }


def _webhook_server_commands(context: Context) -> list[Command]:
    env = context.env
    words = ["--bind", f"{env.BIND_ADDRESS}:{env.WEBHOOK_PORT}", "--workers", "1", "--worker-class", "gthread"]
    words += ["--threads", "16", "--graceful-timeout", "10", "--no-control-socket", "webhook_server:app"]
    return [[str(context.paths.python("dbt")), "-m", "gunicorn", *words]]


def _webhook_worker_commands(context: Context) -> list[Command]:
    return [[str(context.paths.python("dbt")), "-m", "webhook.worker"]]


# --- Superset -----------------------------------------------------------------------------------------------------

SUPERSET = (
    "SUPERSET_SECRET_KEY",
    "SUPERSET_PORT",
    "BIND_ADDRESS",
    "SUPERSET_DB_PASSWORD",
    "CLICKHOUSE_SUPERSET_PASSWORD",
    *SHOP,
)
SUPERSET_FILES = ("superset/config", "superset/requirements.lock")


def _superset_names(context: Context) -> dict[str, str]:
    return {
        **_warehouse(context),
        "PYTHONPATH": str(context.paths.repo / "superset" / "config"),
        "SUPERSET_HOME": str(context.paths.data / "superset"),
        "SUPERSET_CONFIG_PATH": str(context.paths.repo / "superset" / "config" / "superset_config.py"),
        "SUPERSET_DB_HOST": context.env.address,
        "SUPERSET_DB_PORT": context.env.text("POSTGRES_PORT"),
    }


def _superset_init_commands(context: Context) -> list[Command]:
    return [[str(context.paths.python("superset")), str(context.paths.repo / "superset" / "provision.py")]]


def _superset_commands(context: Context) -> list[Command]:
    config = str(context.paths.repo / "superset" / "config" / "gunicorn_conf.py")
    return [[str(context.paths.python("superset")), "-m", "gunicorn", "--config", config, "superset.app:create_app()"]]


# --- The table ----------------------------------------------------------------------------------------------------

SERVICES: tuple[Service, ...] = (
    Service(
        name="postgres-source",
        commands=_postgres_commands,
        healthy=health.postgres,
        port="POSTGRES_PORT",
        # A fast shutdown: sessions are ended, nothing is lost.
        stop_signal="INT",
        stop_seconds=30,
        for_people=_postgres_client_names,
    ),
    Service(
        name="clickhouse-server",
        commands=_clickhouse_commands,
        reads=(
            "BIND_ADDRESS",
            "CLICKHOUSE_HTTP_PORT",
            "CLICKHOUSE_PASSWORD",
            "CLICKHOUSE_LOADER_PASSWORD",
            "CLICKHOUSE_DBT_PASSWORD",
            "CLICKHOUSE_SUPERSET_PASSWORD",
        ),
        computed=_clickhouse_names,
        healthy=health.clickhouse,
        port="CLICKHOUSE_HTTP_PORT",
        watches=("clickhouse/embedded", "clickhouse/config", "clickhouse/requirements.lock"),
        stop_seconds=20,
        enabled=lambda env: env.own_clickhouse,
    ),
    Service(
        name="clickhouse-init",
        one_shot=True,
        commands=_clickhouse_init_commands,
        reads=("CLICKHOUSE_PASSWORD",),
        computed=_clickhouse_init_names,
        after=("clickhouse-server",),
    ),
    Service(
        name="webhook-server",
        commands=_webhook_server_commands,
        reads=(*WEBHOOK, "WEBHOOK_PORT", "BIND_ADDRESS"),
        computed=_webhook_names,
        after=("clickhouse-init",),
        healthy=health.webhook_server,
        port="WEBHOOK_PORT",
        watches=WEBHOOK_FILES,
    ),
    Service(
        name="webhook-worker",
        commands=_webhook_worker_commands,
        reads=WEBHOOK,
        computed=_webhook_names,
        after=("webhook-server",),
        healthy=health.webhook,
        watches=WEBHOOK_FILES,
        # A running dbt may finish for 30 s.
        stop_seconds=40,
    ),
    Service(
        name="airflow-init",
        one_shot=True,
        commands=_airflow_init_commands,
        reads=(*AIRFLOW, "AIRFLOW_ADMIN_PASSWORD"),
        computed=_airflow_names,
        after=("postgres-source", "clickhouse-init"),
    ),
    Service(
        name="airflow-webserver",
        commands=_airflow("api-server", "--workers", "1"),
        reads=AIRFLOW,
        computed=_airflow_names,
        after=("airflow-init",),
        healthy=health.airflow_webserver,
        port="AIRFLOW_PORT",
        watches=AIRFLOW_FILES,
    ),
    Service(
        name="airflow-scheduler",
        commands=_airflow("scheduler", "--skip-serve-logs"),
        reads=AIRFLOW,
        computed=_airflow_names,
        after=("airflow-init", "webhook-server"),
        healthy=health.airflow_scheduler,
        watches=AIRFLOW_FILES,
        # A graceful stop waits for running tasks.
        stop_seconds=60,
    ),
    Service(
        name="airflow-dag-processor",
        commands=_airflow("dag-processor"),
        reads=AIRFLOW,
        computed=_airflow_names,
        after=("airflow-init",),
        healthy=health.airflow_dag_processor,
        watches=AIRFLOW_FILES,
    ),
    Service(
        name="superset-init",
        one_shot=True,
        commands=_superset_init_commands,
        reads=(*SUPERSET, "SUPERSET_ADMIN_PASSWORD"),
        computed=_superset_names,
        after=("postgres-source", "clickhouse-init"),
    ),
    Service(
        name="superset",
        commands=_superset_commands,
        reads=SUPERSET,
        computed=_superset_names,
        after=("superset-init",),
        healthy=health.superset,
        port="SUPERSET_PORT",
        watches=SUPERSET_FILES,
    ),
)

# `scripts/exec dbt` opens a shell in dbt's surroundings; nothing runs under that name.
DBT_SHELL = Service(
    name="dbt", commands=lambda context: [[str(context.paths.python("dbt"))]], reads=WEBHOOK, computed=_webhook_names
)


def by_name(name: str) -> Service:
    """The row called `name`. Raises KeyError."""
    return next(service for service in (*SERVICES, DBT_SHELL) if service.name == name)


def programs(context: Context, service: Service) -> Path:
    """The folder that holds the programs of a service, `python` or `psql` for example."""
    if service.name == "postgres-source":
        return postgres.find_binaries(context.paths.venvs, context.paths.data / "postgres").folder
    return Path(service.commands(context)[0][0]).parent


def enabled(env: Env) -> list[Service]:
    """The rows that this `.env` asks for, each after what it waits for."""
    return [service for service in SERVICES if service.enabled(env)]
