"""The table of services: command, environment, health check and dependencies of each.

In native mode `stack.native.launch` starts a row's command under the supervisor. One-shots run to their end at every boot. Of `.env` a service
sees only the variables in `reads`, unchanged, and those in `computed`.
"""

import secrets
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from urllib.parse import quote

from environment.secrets import VARIABLE as STACK_SECRETS

from stack.env import sources
from stack.env.file import CONFIDENTIAL_NAMES, Env
from stack.native import postgres
from stack.paths import Paths
from stack.table import commands, health
from stack.table.commands import Command


@dataclass(frozen=True)
class Context:
    """Input of the table's rows: paths, the validated `.env`, and the addresses of further sources by their variables."""

    paths: Paths
    env: Env
    urls: Mapping[str, str] = field(default_factory=dict)


def context_of(paths: Paths, env: Env) -> Context:
    """Returns the context with what `.env.sources` holds."""
    return Context(paths, env, sources.read(paths, env))


def _no_names(_: Context) -> Mapping[str, str]:
    return {}


def _always(_: Env) -> bool:
    return True


@dataclass(frozen=True)
class Service:
    """A long-lived service, or a one-shot that must succeed before its dependents start."""

    name: str
    reads: tuple[str, ...] = ()
    computed: Callable[[Context], Mapping[str, str]] = _no_names
    after: tuple[str, ...] = ()
    one_shot: bool = False
    port: str | None = None
    watches: tuple[str, ...] = ()
    stop_signal: str = "TERM"
    stop_seconds: int = 15
    enabled: Callable[[Env], bool] = _always
    # Its program masks secrets in its logs, and gets the names of the variables that hold one.
    masks: bool = False
    # Variables that `scripts/exec` adds, such as the server's address for a client.
    for_people: Callable[[Context], Mapping[str, str]] = _no_names

    def names(self, context: Context) -> dict[str, str]:
        """Returns the variables that this service gets from `.env`, unchanged or computed."""
        # A program reads one spelling or the other.
        own = dict.fromkeys(("NO_PROXY", "no_proxy"), context.env.own_hosts)
        if self.masks:
            own[STACK_SECRETS] = ",".join(self._secret_names(context))
        return {**own, **self._values(context)}

    def _values(self, context: Context) -> dict[str, str]:
        return {**{name: context.env.text(name) for name in self.reads}, **self.computed(context)}

    def _secret_names(self, context: Context) -> list[str]:
        """Returns the variables that hold a secret, as it is in `.env` or inside of a computed value.

        Found by values that are computed from marks in place of the secrets, so that there is no second list to keep.
        """
        mark = secrets.token_hex(8)
        marked = context.env.model_copy(update=dict.fromkeys(CONFIDENTIAL_NAMES, mark))
        urls = dict.fromkeys(context.urls, mark)
        return sorted(
            name for name, value in self._values(Context(context.paths, marked, urls)).items() if mark in value
        )

    def ports(self, env: Env) -> list[str]:
        """Returns the variables of the ports on which the service listens."""
        own_server = self.port == "CLICKHOUSE_HTTP_PORT" and bool(env.CLICKHOUSE_BINARY)
        return [name for name in (self.port, "CLICKHOUSE_NATIVE_PORT" if own_server else None) if name]

    def commands(self, context: Context) -> list[Command]:
        """Returns one command for a long-lived service; one or more, run in turn, for a one-shot."""
        if self.name == POSTGRES:
            return _postgres_commands(context)
        if self.name == POSTGRES_UPGRADE:
            return _postgres_upgrade_commands(context)
        venv, _ = commands.TABLE[self.name]
        python, repo = str(context.paths.python(venv)), str(context.paths.repo)
        return commands.commands(self.name, python=python, repo=repo, env=self.names(context))

    def missing(self, context: Context, started: datetime) -> str:
        """Returns "" if the service is healthy since `started`, else what is missing."""
        if self.name == POSTGRES:
            return postgres.answers(_postgres_client_names(context))
        return health.CHECKS[self.name](self.names(context), started)


POSTGRES = "postgres-source"
POSTGRES_UPGRADE = "postgres-upgrade"

# --- Variables of several services --------------------------------------------------------------------------------

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


def _postgres_upgrade_commands(context: Context) -> list[Command]:
    """Returns the command that upgrades the schema; in a container the image's psql runs the same script."""
    binaries = postgres.find_binaries(context.paths.venvs, context.paths.data / "postgres")
    return [["sh", str(context.paths.repo / "postgres" / "upgrade" / "apply.sh"), binaries["psql"]]]


# --- ClickHouse ---------------------------------------------------------------------------------------------------


def clickhouse_config(context: Context) -> Path:
    """Returns the configuration file of ClickHouse's own server (CLICKHOUSE_BINARY); its data lie beside the file."""
    return context.paths.data / "clickhouse-server" / "config.xml"


def _clickhouse_names(context: Context) -> dict[str, str]:
    repo = context.paths.repo
    if context.env.CLICKHOUSE_BINARY:
        return {"CLICKHOUSE_SERVER_CONFIG": str(clickhouse_config(context))}
    return {
        "PYTHONPATH": str(repo / "clickhouse"),
        "CLICKHOUSE_PATH": str(context.paths.data / "clickhouse"),
        "CLICKHOUSE_CONFIG": str(repo / "clickhouse" / "config"),
    }


def _clickhouse_init_names(context: Context) -> dict[str, str]:
    return {"PYTHONPATH": str(context.paths.repo / "scripts"), **_warehouse(context)}


# --- The loader and Airflow ---------------------------------------------------------------------------------------

# Processes that run no task and no callback need nothing of the loader.
AIRFLOW = ("AIRFLOW_PORT", "BIND_ADDRESS")
LOADER = ("CLICKHOUSE_LOADER_PASSWORD", "MASK_SALT", "NOTIFY_URL", "NOTIFY_SIGNING_SECRET", *SHOP)
TASKS = (*AIRFLOW, *LOADER, "ELT_SCHEDULE", "CLICKHOUSE_AIRFLOW_PASSWORD", "WEBHOOK_TOKEN", "WEBHOOK_SIGNING_SECRET")
AIRFLOW_FILES = (
    "airflow/requirements.lock",
    "airflow/config",
    "airflow/plugins",
    "airflow/provision.py",
    "scripts/environment",
    "scripts/notify",
    "scripts/warehouse",
)


def _loader_names(context: Context) -> dict[str, str]:
    repo = context.paths.repo
    return {
        **context.urls,
        "SOURCE_URL": context.env.source_url,
        "ELT_PIPELINE": str(repo / "pipeline.yml"),
        "ELT_PLAN": str(context.paths.data / "airflow" / "plan.json"),
        "LAKE_URL": context.env.LAKE_URL or (context.paths.data / "lake").as_uri(),
        **_warehouse(context),
    }


def _constant_names(context: Context) -> dict[str, str]:
    """Returns Airflow's settings that are the same on every machine, from airflow/config/airflow.env."""
    lines = (context.paths.repo / "airflow" / "config" / "airflow.env").read_text().splitlines()
    pairs = (line.partition("=") for line in lines if line and not line.startswith("#"))
    return {name: value for name, _, value in pairs}


def _metadata_url(env: Env) -> str:
    password = quote(env.AIRFLOW_DB_PASSWORD, safe="")
    return f"postgresql+psycopg2://airflow:{password}@{env.address}:{env.POSTGRES_PORT}/airflow"


def _airflow_names(context: Context) -> dict[str, str]:
    env, repo = context.env, context.paths.repo
    page = f"http://{env.address}:{env.AIRFLOW_PORT}"
    return {
        **_constant_names(context),
        "PYTHONPATH": f"{repo / 'airflow' / 'plugins'}:{repo / 'scripts'}",
        "AIRFLOW_HOME": str(context.paths.data / "airflow"),
        "AIRFLOW__CORE__DAGS_FOLDER": str(repo / "airflow" / "dags"),
        "AIRFLOW__CORE__EXECUTION_API_SERVER_URL": f"{page}/execution/",
        "AIRFLOW__CORE__FERNET_KEY": env.AIRFLOW_FERNET_KEY,
        "AIRFLOW__API__BASE_URL": page,
        "AIRFLOW__API__HOST": env.BIND_ADDRESS,
        "AIRFLOW__API__PORT": env.text("AIRFLOW_PORT"),
        "AIRFLOW__API__SECRET_KEY": env.AIRFLOW_API_SECRET_KEY,
        "AIRFLOW__API_AUTH__JWT_SECRET": env.AIRFLOW_JWT_SECRET,
        "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": _metadata_url(env),
        "AIRFLOW__LOGGING__BASE_LOG_FOLDER": str(context.paths.logs / "airflow"),
    }


def _task_names(context: Context) -> dict[str, str]:
    """Returns variables for tasks and callbacks. Airflow hides its metadata database from tasks; the clean-up needs another variable."""
    webhook = f"http://{context.env.address}:{context.env.WEBHOOK_PORT}"
    return {
        **_airflow_names(context),
        **_loader_names(context),
        "AIRFLOW_METADATA_CONN": _metadata_url(context.env),
        "WEBHOOK_URL": webhook,
    }


# Without a secret for notices, the webhook's secret signs them.
NOTICES = ("NOTIFY_URL", "NOTIFY_SIGNING_SECRET", "WEBHOOK_SIGNING_SECRET")


def _agent_names(context: Context) -> dict[str, str]:
    repo = context.paths.repo
    return {
        **_warehouse(context),
        "PYTHONPATH": f"{repo / 'airflow' / 'plugins'}:{repo / 'scripts'}",
        "AGENT_HOME": str(context.paths.data / "agent"),
        "AIRFLOW_URL": f"http://{context.env.address}:{context.env.AIRFLOW_PORT}",
    }


# --- The webhook --------------------------------------------------------------------------------------------------

DBT = ("CLICKHOUSE_DBT_PASSWORD", "CLICKHOUSE_DATABASE_ENGINE", "CLICKHOUSE_TABLE_ENGINE", *SHOP)
# dbt itself, and users of its shell, must not be able to write the worker's records.
WEBHOOK = (*DBT, "CLICKHOUSE_WEBHOOK_PASSWORD")
WEBHOOK_FILES = (
    "scripts/webhook",
    "scripts/webhook_server.py",
    "scripts/environment",
    "scripts/notify",
    "scripts/warehouse",
    "dbt/requirements.lock",
)


def _webhook_names(context: Context) -> dict[str, str]:
    project = str(context.paths.repo / "dbt")
    return {
        **_warehouse(context),
        "PYTHONPATH": str(context.paths.repo / "scripts"),
        "WEBHOOK_HOME": str(context.paths.data / "webhook"),
        "DBT_PROJECT_DIR": project,
        "DBT_PROFILES_DIR": project,
        "WEBHOOK_URL": f"http://{context.env.address}:{context.env.WEBHOOK_PORT}",
    }


# --- Superset -----------------------------------------------------------------------------------------------------

SUPERSET = (
    "SUPERSET_SECRET_KEY",
    "SUPERSET_PORT",
    "BIND_ADDRESS",
    "SUPERSET_DB_PASSWORD",
    "CLICKHOUSE_SUPERSET_PASSWORD",
    "CLICKHOUSE_SUPERSET_OPERATIONS_PASSWORD",
    "CLICKHOUSE_SUPERSET_CALIFORNIA_PASSWORD",
    *SHOP,
)
SUPERSET_FILES = ("superset/config", "superset/requirements.lock", "scripts/environment")


def _superset_names(context: Context) -> dict[str, str]:
    return {
        **_warehouse(context),
        "PYTHONPATH": f"{context.paths.repo / 'superset' / 'config'}:{context.paths.repo / 'scripts'}",
        "SUPERSET_HOME": str(context.paths.data / "superset"),
        "SUPERSET_CONFIG_PATH": str(context.paths.repo / "superset" / "config" / "superset_config.py"),
        "SUPERSET_DB_HOST": context.env.address,
        "SUPERSET_DB_PORT": context.env.text("POSTGRES_PORT"),
    }


# --- The table ----------------------------------------------------------------------------------------------------

SERVICES: tuple[Service, ...] = (
    Service(
        name=POSTGRES,
        port="POSTGRES_PORT",
        # Postgres' fast shutdown: it ends sessions and loses nothing.
        stop_signal="INT",
        stop_seconds=30,
        for_people=_postgres_client_names,
    ),
    # The stack's own Postgres, whatever SOURCE_URL says.
    Service(
        name=POSTGRES_UPGRADE,
        one_shot=True,
        watches=("postgres/upgrade",),
        reads=("POSTGRES_READER_PASSWORD",),
        computed=_postgres_client_names,
        after=(POSTGRES,),
    ),
    Service(
        name="clickhouse-server",
        reads=(
            "BIND_ADDRESS",
            "CLICKHOUSE_BINARY",
            "CLICKHOUSE_HTTP_PORT",
            "CLICKHOUSE_NATIVE_PORT",
            "CLICKHOUSE_PASSWORD",
            "CLICKHOUSE_LOADER_PASSWORD",
            "CLICKHOUSE_DBT_PASSWORD",
            "CLICKHOUSE_WEBHOOK_PASSWORD",
            "CLICKHOUSE_AIRFLOW_PASSWORD",
            "CLICKHOUSE_SUPERSET_PASSWORD",
            "CLICKHOUSE_SUPERSET_OPERATIONS_PASSWORD",
            "CLICKHOUSE_SUPERSET_CALIFORNIA_PASSWORD",
        ),
        computed=_clickhouse_names,
        port="CLICKHOUSE_HTTP_PORT",
        watches=("clickhouse/embedded", "clickhouse/config", "clickhouse/requirements.lock"),
        stop_seconds=20,
        enabled=lambda env: env.own_clickhouse,
    ),
    Service(
        name="clickhouse-init",
        one_shot=True,
        watches=("clickhouse/init",),
        reads=("CLICKHOUSE_PASSWORD",),
        computed=_clickhouse_init_names,
        after=("clickhouse-server",),
    ),
    Service(
        name="webhook-server",
        reads=(*WEBHOOK, "WEBHOOK_TOKEN", "WEBHOOK_SIGNING_SECRET", "WEBHOOK_PORT", "BIND_ADDRESS"),
        computed=_webhook_names,
        masks=True,
        after=("clickhouse-init",),
        port="WEBHOOK_PORT",
        watches=("VERSION", *WEBHOOK_FILES),
    ),
    Service(
        name="webhook-worker",
        reads=(*WEBHOOK, *NOTICES, "NOTIFY_SUCCESS"),
        computed=_webhook_names,
        masks=True,
        after=("webhook-server",),
        watches=WEBHOOK_FILES,
        # A running dbt has 30 s to finish; then it and its queries are killed.
        stop_seconds=45,
    ),
    Service(
        name="airflow-init",
        one_shot=True,
        watches=("airflow/requirements.lock", "airflow/provision.py", "pipeline.yml"),
        reads=(*TASKS, "AIRFLOW_ADMIN_PASSWORD", "AIRFLOW_AGENT_PASSWORD"),
        computed=_task_names,
        masks=True,
        after=("postgres-upgrade", "clickhouse-init"),
    ),
    # The api-server is the first row, so it stops last: tasks that end during a stop report to it.
    Service(
        name="airflow-webserver",
        reads=AIRFLOW,
        computed=_airflow_names,
        after=("airflow-init",),
        port="AIRFLOW_PORT",
        watches=AIRFLOW_FILES,
    ),
    Service(
        name="airflow-dag-processor",
        reads=TASKS,
        computed=_task_names,
        masks=True,
        after=("airflow-init",),
        watches=AIRFLOW_FILES,
    ),
    Service(
        name="airflow-scheduler",
        reads=TASKS,
        computed=_task_names,
        masks=True,
        # A task that finds no api-server fails at once, and its retry comes only after five minutes.
        after=("airflow-init", "airflow-webserver", "webhook-server"),
        watches=AIRFLOW_FILES,
        # A graceful stop waits for running tasks.
        stop_seconds=60,
    ),
    Service(
        name="elt-agent",
        reads=("CLICKHOUSE_LOADER_PASSWORD", "AIRFLOW_AGENT_PASSWORD", *NOTICES),
        computed=_agent_names,
        masks=True,
        after=("clickhouse-init", "airflow-webserver"),
        watches=(
            "airflow/requirements.lock",
            "airflow/plugins/elt",
            "scripts/agent",
            "scripts/environment",
            "scripts/notify",
            "scripts/warehouse",
        ),
    ),
    Service(
        name="superset-init",
        one_shot=True,
        watches=("superset",),
        reads=(*SUPERSET, "SUPERSET_ADMIN_PASSWORD"),
        computed=_superset_names,
        after=("postgres-source", "clickhouse-init"),
    ),
    Service(
        name="superset",
        reads=SUPERSET,
        computed=_superset_names,
        after=("superset-init",),
        port="SUPERSET_PORT",
        watches=SUPERSET_FILES,
    ),
)

# Only for `scripts/exec dbt`, a shell in dbt's environment; no service runs under that name.
DBT_SHELL = Service(name="dbt", reads=DBT, computed=_webhook_names)


def by_name(name: str) -> Service:
    """Returns the row called `name`. Raises KeyError."""
    return next(service for service in (*SERVICES, DBT_SHELL) if service.name == name)


def programs(context: Context, service: Service) -> Path:
    """Returns the folder of a service's programs, such as `python` or `psql`."""
    if service.name == POSTGRES:
        return postgres.find_binaries(context.paths.venvs, context.paths.data / "postgres").folder
    venv = "dbt" if service is DBT_SHELL else commands.TABLE[service.name][0]
    return context.paths.python(venv).parent


def enabled(env: Env) -> list[Service]:
    """Returns the rows that this `.env` enables, in the order of dependencies."""
    return [service for service in SERVICES if service.enabled(env)]
