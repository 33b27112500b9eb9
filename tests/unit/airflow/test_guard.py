"""Airflow's masker is given every secret of the service that runs tasks or callbacks."""

import json
import subprocess
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from stack.env import file as env_file
from stack.native import launch
from stack.paths import Paths
from stack.table import services
from stack.table.services import Context, Service

Start = Callable[..., "subprocess.Popen[str]"]

GIVEN = {
    "NOTIFY_URL": "https://me:of-the-address@hooks.example.org/key",
    "NOTIFY_SIGNING_SECRET": f"whsec_{'A' * 32} whsec_{'B' * 32}",
    "SOURCE_URL": "postgresql://me:se%26cret@db/shop?sslpassword=unseen",
}


@pytest.fixture
def context(repo: Path, venvs: Path, tmp_path: Path) -> Context:
    file = tmp_path / ".env"
    env_file.write_new(file, env_file.fill(repo / ".env.example", {}, GIVEN, STACK_MODE="native"))
    return Context(Paths(home=tmp_path, env_file=file, venvs=venvs), env_file.load(file))


def masked(start: Start, environment: dict[str, str], texts: list[str]) -> list[str]:
    # Airflow's own settings would make it look for its database.
    given = {name: value for name, value in environment.items() if not name.startswith(("AIRFLOW__", "PATH"))}
    with start("mask_texts.py", json.dumps(texts), **given) as process:
        out, err = process.communicate()
    assert process.returncode == 0, err
    return list(json.loads(out))


@pytest.mark.parametrize("name", ["airflow-scheduler", "airflow-dag-processor", "airflow-init"])
def test_every_secret_that_a_service_gets_is_masked_in_a_tasks_log(
    airflow_python: Start, context: Context, name: str
) -> None:
    environment = launch.environment(context, services.by_name(name))
    names = [one for one in environment["STACK_SECRETS"].split(",") if not one.startswith("AIRFLOW__")]
    assert {"SOURCE_URL", "AIRFLOW_METADATA_CONN", "NOTIFY_URL", "MASK_SALT"} < set(names)
    secrets = [word for one in names for word in environment[one].split()]
    secrets += ["of-the-address", "se%26cret", "se&cret", context.env.AIRFLOW_DB_PASSWORD]
    told = masked(airflow_python, environment, [f"it said {secret}." for secret in secrets])
    assert set(told) == {"it said ***."}


def test_a_new_secret_in_the_table_is_masked_without_another_edit(airflow_python: Start, context: Context) -> None:
    row: Service = services.by_name("airflow-scheduler")
    grown = replace(row, reads=(*row.reads, "SUPERSET_SECRET_KEY"))
    text = f"it said {context.env.SUPERSET_SECRET_KEY}."
    assert masked(airflow_python, launch.environment(context, row), [text]) == [text]
    assert masked(airflow_python, launch.environment(context, grown), [text]) == ["it said ***."]


def test_a_task_that_is_not_told_its_secrets_fails_and_says_what_to_set(airflow_python: Start) -> None:
    with airflow_python("mask_texts.py", "[]", STACK_SECRETS="") as process:
        _, err = process.communicate()
    assert process.returncode != 0
    assert "AirflowFailException: STACK_SECRETS is not set. Set it in .env" in err
