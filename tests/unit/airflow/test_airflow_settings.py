"""airflow.env holds what both ways of running read: names that Airflow knows, and nothing secret."""

import re
from pathlib import Path

import pytest
import yaml


@pytest.fixture(scope="module")
def settings(repo: Path) -> dict[str, str]:
    lines = (repo / "airflow/config/airflow.env").read_text().splitlines()
    return dict(line.split("=", 1) for line in lines if line and not line.startswith("#"))


def test_every_line_is_read_alike_by_a_shell_and_by_compose(settings: dict[str, str]) -> None:
    for name, value in settings.items():
        assert re.fullmatch(r"AIRFLOW__[A-Z_]+__[A-Z_]+", name)
        assert re.fullmatch(r"[\w./:,=-]*", value), f"{name} needs quoting"


def test_every_name_is_a_setting_of_the_locked_airflow(settings: dict[str, str], venvs: Path) -> None:
    (template,) = (venvs / "airflow/lib").glob("python3*/site-packages/airflow/config_templates/config.yml")
    known = yaml.safe_load(template.read_text())
    for name in settings:
        section, option = name.removeprefix("AIRFLOW__").lower().split("__")
        assert option in known[section]["options"], name


def test_nothing_in_it_is_secret_or_of_one_machine(settings: dict[str, str]) -> None:
    # SECRETS_BACKEND is the name of a class of ours.
    for name in settings:
        assert not re.search(r"SECRET(?!S_BACKEND$)|FERNET|JWT|PASSWORD$|CONN$|PORT$|HOST$|URL$|FOLDER$", name)


def test_time_limits_fit_a_busy_machine_and_one_another(settings: dict[str, str]) -> None:
    answer = int(settings["AIRFLOW__WORKERS__EXECUTION_API_TIMEOUT"])
    # One slow answer to a heartbeat must not count as a dead task.
    assert 30 <= answer < int(settings["AIRFLOW__SCHEDULER__TASK_INSTANCE_HEARTBEAT_TIMEOUT"])
    parse = int(settings["AIRFLOW__CORE__DAGBAG_IMPORT_TIMEOUT"])
    assert 60 < parse < int(settings["AIRFLOW__DAG_PROCESSOR__DAG_FILE_PROCESSOR_TIMEOUT"])
