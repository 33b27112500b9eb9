"""The table of services: an order that can be started, and to each its own secrets and no more."""

from dataclasses import replace
from pathlib import Path

import pytest
from stack.env import file as env_file
from stack.native import launch, supervisor
from stack.paths import Paths
from stack.table import health, services
from stack.table.services import Context

# Who may know which secret. Tasks run in the scheduler, callbacks in the dag-processor.
TASKS = {"airflow-init", "airflow-scheduler", "airflow-dag-processor"}
AIRFLOW = {*TASKS, "airflow-webserver"}
MAY_KNOW = {
    "POSTGRES_PASSWORD": {"postgres-upgrade"},
    "CLICKHOUSE_PASSWORD": {"clickhouse-server", "clickhouse-init"},
    "CLICKHOUSE_LOADER_PASSWORD": {"clickhouse-server", "elt-agent", *TASKS},
    "CLICKHOUSE_DBT_PASSWORD": {"clickhouse-server", "webhook-server", "webhook-worker"},
    "CLICKHOUSE_WEBHOOK_PASSWORD": {"clickhouse-server", "webhook-server", "webhook-worker"},
    "CLICKHOUSE_AIRFLOW_PASSWORD": {"clickhouse-server", *TASKS},
    "CLICKHOUSE_SUPERSET_PASSWORD": {"clickhouse-server", "superset", "superset-init"},
    "CLICKHOUSE_SUPERSET_OPERATIONS_PASSWORD": {"clickhouse-server", "superset", "superset-init"},
    "CLICKHOUSE_SUPERSET_CALIFORNIA_PASSWORD": {"clickhouse-server", "superset", "superset-init"},
    "POSTGRES_READER_PASSWORD": {"postgres-upgrade", *TASKS},
    "AIRFLOW_ADMIN_PASSWORD": {"airflow-init"},
    "AIRFLOW_AGENT_PASSWORD": {"airflow-init", "elt-agent"},
    "AIRFLOW_DB_PASSWORD": AIRFLOW,
    "AIRFLOW_FERNET_KEY": AIRFLOW,
    "AIRFLOW_API_SECRET_KEY": AIRFLOW,
    "AIRFLOW_JWT_SECRET": AIRFLOW,
    "SUPERSET_ADMIN_PASSWORD": {"superset-init"},
    "SUPERSET_DB_PASSWORD": {"superset", "superset-init"},
    "SUPERSET_SECRET_KEY": {"superset", "superset-init"},
    "WEBHOOK_TOKEN": {"webhook-server", *TASKS},
    "WEBHOOK_SIGNING_SECRET": {"webhook-server", "webhook-worker", "elt-agent", *TASKS},
    "MASK_SALT": TASKS,
}


@pytest.fixture
def context(repo: Path, venvs: Path, tmp_path: Path) -> Context:
    file = tmp_path / ".env"
    env_file.write_new(file, env_file.fill(repo / ".env.example", {}, {}, STACK_MODE="native"))
    return Context(Paths(home=tmp_path, env_file=file, venvs=venvs), env_file.load(file))


def test_each_service_waits_only_for_services_that_stand_before_it() -> None:
    seen: set[str] = set()
    for row in services.SERVICES:
        assert set(row.after) <= seen, row.name
        seen.add(row.name)


def test_each_long_lived_service_has_a_health_check_and_one_command(context: Context) -> None:
    for row in services.SERVICES:
        if not row.one_shot:
            assert row.name in health.CHECKS or row.name == services.POSTGRES
            assert len(row.commands(context)) == 1


def test_each_secret_is_known_to_those_who_need_it_and_to_nobody_else(context: Context) -> None:
    assert set(MAY_KNOW) == set(env_file.SECRETS)
    for name in env_file.SECRETS:
        secret = context.env.text(name)
        knowing = {
            row.name
            for row in services.SERVICES
            if any(secret in value for value in launch.environment(context, row).values())
        }
        assert knowing == MAY_KNOW[name], name


def test_no_secret_stands_on_a_command_line_or_in_the_supervisors_file(context: Context) -> None:
    texts = [word for row in services.SERVICES for command in row.commands(context) for word in command]
    texts.append(supervisor.configuration(context.paths, list(services.SERVICES)))
    for name in env_file.SECRETS:
        assert not [text for text in texts if context.env.text(name) in text]


def test_the_variables_that_hold_a_secret_are_those_that_logs_mask(context: Context) -> None:
    """Also where NOTIFY_URL and SOURCE_URL are set, and wherever a computed value has a secret in it."""
    given = {"NOTIFY_URL": "https://hooks.example.org/key", "SOURCE_URL": "postgresql://me:hush-hush@db/shop"}
    for env in (context.env, context.env.model_copy(update=given)):
        secrets = [env.text(name) for name in env_file.CONFIDENTIAL_NAMES if env.text(name)]
        for row in services.SERVICES:
            names = row.names(Context(context.paths, env))
            masked = set(names.get("STACK_SECRETS", "").split(",")) - {""}
            holding = {name for name, value in names.items() if any(secret in value for secret in secrets)}
            may_be_empty = {"NOTIFY_URL", "NOTIFY_SIGNING_SECRET"} & set(names)
            assert masked == (holding | may_be_empty if row.masks else set()), row.name


def test_a_new_secret_of_a_row_is_masked_without_another_list(context: Context) -> None:
    row = services.by_name("webhook-worker")
    grown = replace(
        row,
        reads=(*row.reads, "SUPERSET_SECRET_KEY"),
        computed=lambda given: {**row.computed(given), "CONN": f"db://me:{given.env.SUPERSET_DB_PASSWORD}@db"},
    )
    more = {*grown.names(context)["STACK_SECRETS"].split(",")} - {*row.names(context)["STACK_SECRETS"].split(",")}
    assert more == {"SUPERSET_SECRET_KEY", "CONN"}


def test_a_changed_name_changes_the_fingerprint_of_those_who_read_it_alone(context: Context) -> None:
    changed = Context(context.paths, context.env.model_copy(update={"SUPERSET_PORT": 9999}))
    differing = {
        row.name for row in services.SERVICES if launch.fingerprint(context, row) != launch.fingerprint(changed, row)
    }
    assert differing == {"superset", "superset-init"}


def test_a_warehouse_of_ones_own_is_not_started(context: Context) -> None:
    own = context.env.model_copy(update={"CLICKHOUSE_HOST": "warehouse.example.org"})
    assert "clickhouse-server" not in [row.name for row in services.enabled(own)]
    assert launch.environment(Context(context.paths, own), services.by_name("superset"))["CLICKHOUSE_HOST"] == (
        "warehouse.example.org"
    )


def test_the_upgrade_of_the_source_is_for_the_stacks_own_whatever_source_url_says(context: Context) -> None:
    row = services.by_name("postgres-upgrade")
    foreign = context.env.model_copy(update={"SOURCE_URL": "postgresql://reader:secret@shop.example.org/shop"})
    assert row in services.enabled(foreign)
    assert row.names(Context(context.paths, foreign)) == row.names(context)
