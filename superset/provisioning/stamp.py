"""Stamp of the last provisioning: one digest for each part, stored in the metadata database.

A new metadata database has no stamp, so it is provisioned whatever files an old one left. Needs only the standard library and psycopg2.
"""

import hashlib
import hmac
from collections.abc import Collection, Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import psycopg2
from psycopg2.extensions import connection
from stack_superset.settings import Settings

from provisioning.errors import ProvisionError

Stamp = Mapping[str, str]
# (kind, which is the folder's name, uuid), or ("roles", name).
Asset = tuple[str, str]

HERE = Path(__file__).resolve().parents[1]
# An arbitrary number that no other session lock of this database uses.
LOCK = 7_305_411


def digest(contents: Mapping[str, bytes]) -> str:
    """Returns a digest of names and contents that does not depend on their order."""
    whole = hashlib.sha256()
    for name in sorted(contents):
        whole.update(f"{name}\0{len(contents[name])}\0".encode())
        whole.update(contents[name])
    return whole.hexdigest()


def _files(root: Path, files: Iterable[Path]) -> dict[str, bytes]:
    return {file.relative_to(root).as_posix(): file.read_bytes() for file in files}


def wanted(settings: Settings, admin_password: str, assets: Mapping[str, str], root: Path = HERE) -> dict[str, str]:
    """Returns the stamp of the present lock, code, assets and admin password.

    The password is hashed with the secret key, which is not in the metadata database, so the stamp does not help to guess passwords.
    """
    code = [root / "provision.py", *(root / "config").rglob("*.py"), *(root / "provisioning").rglob("*.py")]
    return {
        "lock": digest(_files(root, [root / "requirements.lock"])),
        "config": digest(_files(root, code)),
        "assets": digest({name: text.encode() for name, text in assets.items()}),
        "admin": hmac.new(settings.secret_key.encode(), admin_password.encode(), hashlib.sha256).hexdigest(),
    }


def changed(present: Stamp, future: Stamp) -> list[str]:
    """Returns the parts that differ, in the order of `future`."""
    return [part for part, digest in future.items() if present.get(part) != digest]


@contextmanager
def metadata_database(settings: Settings) -> Iterator[connection]:
    """Connects to the metadata database, in autocommit, and locks out other provisioners. Raises ProvisionError if it cannot connect."""
    try:
        database = psycopg2.connect(
            host=settings.database_host,
            port=settings.database_port,
            user=settings.database_user,
            password=settings.database_password,
            dbname=settings.database_name,
            connect_timeout=10,
            application_name="superset provisioning",
        )
    except psycopg2.OperationalError as error:
        where = f"{settings.database_host}:{settings.database_port}/{settings.database_name}"
        raise ProvisionError(
            f"Superset's metadata database {where} cannot be reached ({str(error).strip()}); is Postgres up, and SUPERSET_DB_PASSWORD its role's?"
        ) from None
    try:
        database.autocommit = True
        with database.cursor() as cur:
            cur.execute("SELECT pg_advisory_lock(%s)", (LOCK,))
        yield database
    finally:
        database.close()


def read(database: connection) -> dict[str, str]:
    """Returns the stamp of the last successful provisioning; empty for a new database."""
    with database.cursor() as cur:
        cur.execute("SELECT to_regclass('stack_provisioning') IS NOT NULL")
        row = cur.fetchone()
        if row is None or not row[0]:
            return {}
        cur.execute("SELECT part, digest FROM stack_provisioning")
        return dict(cur.fetchall())


def read_assets(database: connection) -> set[Asset]:
    """Returns the assets that came from files at the last provisioning."""
    with database.cursor() as cur:
        cur.execute("SELECT to_regclass('stack_assets') IS NOT NULL")
        row = cur.fetchone()
        if row is None or not row[0]:
            return set()
        cur.execute("SELECT kind, key FROM stack_assets")
        return set(cur.fetchall())


def write(database: connection, stamp: Stamp, assets: Collection[Asset]) -> None:
    """Replaces the stamp and the list of assets that came from files."""
    with database.cursor() as cur:
        cur.execute("BEGIN")
        cur.execute(
            "CREATE TABLE IF NOT EXISTS stack_provisioning (part text PRIMARY KEY, digest text NOT NULL, at timestamptz NOT NULL DEFAULT now())"
        )
        cur.execute("DELETE FROM stack_provisioning")
        for part, digest in stamp.items():
            cur.execute("INSERT INTO stack_provisioning (part, digest) VALUES (%s, %s)", (part, digest))
        cur.execute("CREATE TABLE IF NOT EXISTS stack_assets (kind text, key text, PRIMARY KEY (kind, key))")
        cur.execute("DELETE FROM stack_assets")
        for kind, key in sorted(assets):
            cur.execute("INSERT INTO stack_assets (kind, key) VALUES (%s, %s)", (kind, key))
        cur.execute("COMMIT")
