"""Makes Airflow ready to start: folder, admin's password, metadata database at this version's schema.

    <venvs>/airflow/bin/python airflow/provision.py

A boot that finds all of it in order imports nothing of Airflow and takes a fifth of a second: what was migrated, with
which lock, is in a stamp, and the database is asked whether it still stands there.
"""

import hashlib
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from urllib.parse import urlsplit, urlunsplit

import psycopg2
from elt_airflow.settings import Provision
from environment.reading import SettingsError, read

LOCK = Path(__file__).with_name("requirements.lock")
PASSWORDS = "simple_auth_manager_passwords.json.generated"
STAMP = "migrated.json"


class ProvisionError(Exception):
    """One sentence with cause and cure."""


def main() -> int:
    try:
        settings = read(Provision, os.environ)
        settings.home.mkdir(parents=True, exist_ok=True, mode=0o700)
        admin = {"admin": settings.admin_password.get_secret_value()}
        write_privately(settings.home / PASSWORDS, json.dumps(admin) + "\n")
        migrate(settings.home, settings.database.get_secret_value())
    except (ProvisionError, SettingsError) as error:
        print(error, file=sys.stderr)
        return 1
    return 0


def migrate(home: Path, database: str) -> None:
    """Brings the metadata database to the schema of the locked Airflow; nothing to do when stamp and database agree."""
    wanted = {"lock": hashlib.sha256(LOCK.read_bytes()).hexdigest(), "database": _without_password(database)}
    head = _schema_version(database)
    stamp = home / STAMP
    if head is not None and _read(stamp) == {**wanted, "head": head}:
        print("Airflow's metadata database is up to date.")
        return
    print("Migrating Airflow's metadata database...", flush=True)
    done = subprocess.run(
        [sys.executable, "-m", "airflow", "db", "migrate"],
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        check=False,
    )
    if done.returncode:
        print(done.stdout, file=sys.stderr)
        raise ProvisionError(
            "Airflow's metadata database could not be migrated (its words are above): put back the lock that made it, "
            "or restore the database."
        )
    write_privately(stamp, json.dumps({**wanted, "head": _schema_version(database)}) + "\n")
    print("Airflow's metadata database is migrated.")


def write_privately(path: Path, text: str) -> None:
    """Replaces the file in one step, readable by its owner alone; leaves it alone when it says so already."""
    if path.exists() and path.stat().st_mode & 0o777 == 0o600 and path.read_text() == text:
        return
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    with os.fdopen(handle, "w") as file:
        file.write(text)
    Path(name).replace(path)


def _schema_version(database: str) -> str | None:
    """The migration at which the database stands; None when it is empty."""
    try:
        connection = psycopg2.connect(_libpq(database), connect_timeout=10)
    except psycopg2.OperationalError as error:
        raise ProvisionError(
            f"Airflow's metadata database {_without_password(database)} does not answer ({str(error).strip()}): "
            "start Postgres, or correct AIRFLOW_DB_PORT and AIRFLOW_DB_PASSWORD."
        ) from error
    try:
        with connection.cursor() as cursor:
            cursor.execute("SELECT to_regclass('alembic_version')")
            found = cursor.fetchone()
            if found is None or found[0] is None:
                return None
            cursor.execute("SELECT version_num FROM alembic_version")
            row = cursor.fetchone()
            return str(row[0]) if row else None
    finally:
        connection.close()


def _libpq(database: str) -> str:
    """SQLAlchemy's address as libpq takes it: without the driver's name."""
    scheme, _, rest = database.partition("://")
    return f"{scheme.partition('+')[0]}://{rest}"


def _without_password(database: str) -> str:
    parts = urlsplit(database)
    return urlunsplit((parts.scheme, parts.netloc.rpartition("@")[2], parts.path, "", ""))


def _read(stamp: Path) -> object:
    try:
        return json.loads(stamp.read_text())
    except (OSError, ValueError):
        return None


if __name__ == "__main__":
    sys.exit(main())
