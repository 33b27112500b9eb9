"""A boot that finds Airflow in order must not pay for importing it; one that does not must say why."""

import json
import re
import stat
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

Provision = Callable[..., subprocess.CompletedProcess[str]]


def test_first_boot_migrates_and_the_next_skips_without_importing_airflow(
    provision: Provision, airflow_env: dict[str, str]
) -> None:
    assert provision().returncode == 0
    begun = time.monotonic()
    again = provision(PYTHONPROFILEIMPORTTIME="1")
    assert time.monotonic() - begun < 1.5
    assert "up to date" in again.stdout
    imported = set(re.findall(r"\|\s+([\w.]+)$", again.stderr, re.MULTILINE))
    assert "psycopg2" in imported
    assert not any(module.split(".")[0] == "airflow" for module in imported)


def test_password_file_is_for_the_owner_alone_and_follows_the_environment(
    provision: Provision, airflow_env: dict[str, str]
) -> None:
    assert provision().returncode == 0
    file = Path(airflow_env["AIRFLOW_HOME"]) / "simple_auth_manager_passwords.json.generated"
    assert json.loads(file.read_text()) == {
        "admin": airflow_env["AIRFLOW_ADMIN_PASSWORD"],
        "agent": airflow_env["AIRFLOW_AGENT_PASSWORD"],
    }
    assert stat.S_IMODE(file.stat().st_mode) == 0o600


def test_stamp_of_another_lock_leads_to_a_migration(provision: Provision, airflow_env: dict[str, str]) -> None:
    assert provision().returncode == 0
    stamp = Path(airflow_env["AIRFLOW_HOME"]) / "migrated.json"
    stamp.write_text(json.dumps({**json.loads(stamp.read_text()), "lock": "of yesterday"}))
    assert "is migrated" in provision().stdout
    assert "up to date" in provision().stdout


def test_database_that_is_away_is_one_sentence_without_the_password(provision: Provision) -> None:
    failed = provision(
        AIRFLOW__DATABASE__SQL_ALCHEMY_CONN="postgresql+psycopg2://airflow:hush-hush@127.0.0.1:1/airflow"
    )
    assert failed.returncode == 1
    assert "does not answer" in failed.stderr
    assert "hush-hush" not in failed.stderr
    assert "Traceback" not in failed.stderr


def test_missing_name_is_told(provision: Provision) -> None:
    failed = provision(AIRFLOW_ADMIN_PASSWORD="")
    assert failed.returncode == 1
    assert failed.stderr.startswith("AIRFLOW_ADMIN_PASSWORD is not set")
