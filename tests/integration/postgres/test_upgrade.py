"""postgres/upgrade: the loader's role leaves nothing behind, also in a shop that an earlier version made."""

import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import psycopg2
import pytest
from psycopg2.extensions import parse_dsn

LARGE_OBJECT_READERS = {
    "lo_open", "lo_close", "loread", "lo_get", "lo_lseek", "lo_lseek64", "lo_tell", "lo_tell64",
}  # fmt: skip
# The rights of a database and of its server, as rows that can be compared.
RIGHTS = """
SELECT 'database', datname::text, datacl::text FROM pg_database
UNION ALL SELECT 'schema', nspname::text, nspacl::text FROM pg_namespace
UNION ALL SELECT 'function', oid::regprocedure::text, proacl::text FROM pg_proc WHERE proacl IS NOT NULL
UNION ALL SELECT 'source', proname::text, prosrc FROM pg_proc WHERE pronamespace = 'public'::regnamespace
UNION ALL SELECT 'table', oid::regclass::text, relacl::text FROM pg_class WHERE relnamespace = 'public'::regnamespace
UNION ALL SELECT 'default', defaclnamespace::text, defaclacl::text FROM pg_default_acl
UNION ALL SELECT 'setting', setrole::regrole::text || setdatabase, setconfig::text FROM pg_db_role_setting
UNION ALL SELECT 'role', rolname::text, to_jsonb(r)::text FROM pg_roles AS r
ORDER BY 1, 2, 3
"""


@pytest.fixture
def owner(new_shop: Callable[..., str]) -> Any:
    """The owner's session in a shop of its own, each statement by itself."""
    connection = psycopg2.connect(new_shop())
    connection.autocommit = True
    yield connection
    connection.close()


@pytest.fixture(scope="module")
def shop(new_shop: Callable[..., str]) -> str:
    return new_shop()


def run(connection: Any, statement: str) -> list[tuple[Any, ...]]:
    with connection.cursor() as cursor:
        cursor.execute(statement)
        rows: list[tuple[Any, ...]] = cursor.fetchall() if cursor.description else []
    return rows


def database(connection: Any) -> str:
    return str(parse_dsn(connection.dsn)["dbname"])


@pytest.mark.parametrize(
    "statement",
    [
        "SELECT lo_creat(-1)",
        "SELECT lo_create(0)",
        "SELECT lo_from_bytea(0, 'left behind')",
        "SELECT lo_put(1, 0, 'left behind')",
        "SELECT lowrite(0, 'left behind')",
        "SELECT lo_truncate(0, 0)",
        "SELECT lo_truncate64(0, 0)",
        "SELECT lo_unlink(1)",
        "SELECT lo_import('/etc/hostname')",
        "SELECT lo_export(1, '/tmp/left-behind')",
        "SELECT pg_logical_emit_message(false, 'prefix', 'left behind')",
        "SELECT pg_logical_emit_message(true, 'prefix', 'left behind'::bytea)",
        "SELECT pg_create_physical_replication_slot('left_behind')",
        "SELECT pg_create_logical_replication_slot('left_behind', 'pgoutput')",
        "CREATE TEMPORARY VIEW left_behind AS SELECT 1",
        "CREATE FUNCTION pg_temp.left_behind() RETURNS int LANGUAGE sql AS 'SELECT 1'",
        "CREATE FUNCTION public.left_behind() RETURNS int LANGUAGE sql AS 'SELECT 1'",
        "CREATE TYPE public.left_behind AS (a int)",
        "CREATE SCHEMA left_behind",
        "CREATE EXTENSION dblink",
        "CREATE PUBLICATION left_behind",
        "CREATE STATISTICS left_behind ON state, city FROM customers",
        "COMMENT ON TABLE customers IS 'left behind'",
        "GRANT SELECT ON customers TO PUBLIC WITH GRANT OPTION",
        "GRANT elt_reader TO ecommerce",
        "ALTER SYSTEM SET work_mem = '1GB'",
        "ALTER ROLE elt_reader CREATEDB",
        "SELECT setval(pg_get_serial_sequence('orders', 'order_id'), 1)",
    ],
)
def test_the_reader_is_refused_whatever_would_stay(shop: str, reader_of: Callable[[str], Any], statement: str) -> None:
    reader = reader_of(shop)
    run(reader, "SET default_transaction_read_only = off")
    with pytest.raises((psycopg2.errors.InsufficientPrivilege, psycopg2.errors.InvalidGrantOperation)):
        run(reader, statement)


def test_the_reader_is_refused_large_objects_by_the_drivers_own_calls(
    shop: str, reader_of: Callable[[str], Any]
) -> None:
    reader = reader_of(shop)
    run(reader, "SET default_transaction_read_only = off")
    reader.autocommit = False
    with pytest.raises(psycopg2.OperationalError, match="permission denied for function lo_creat"):
        reader.lobject(0, "wb")
    reader.rollback()


def test_of_the_functions_of_large_objects_the_reader_may_call_those_that_read(
    shop: str, reader_of: Callable[[str], Any]
) -> None:
    """Also in a version of Postgres that has more of them."""
    query = (
        "SELECT DISTINCT proname FROM pg_proc WHERE pronamespace = 'pg_catalog'::regnamespace"
        " AND proname ~ '^lo(_|read|write)' AND has_function_privilege(oid, 'EXECUTE')"
    )
    assert {name for (name,) in run(reader_of(shop), query)} == LARGE_OBJECT_READERS


@pytest.mark.parametrize("other", ["postgres", "template1"])
def test_the_reader_does_not_enter_the_servers_own_databases(postgres: Any, shop: str, other: str) -> None:
    with pytest.raises(psycopg2.OperationalError, match=f'permission denied for database "{other}"'):
        psycopg2.connect(postgres.dsn(other, "elt_reader", postgres.reader_password))


def test_a_shop_of_an_earlier_version_gets_it_and_a_second_time_changes_nothing(
    postgres: Any, owner: Any, reader_of: Callable[[str], Any]
) -> None:
    run(owner, f"GRANT TEMPORARY, CREATE ON DATABASE {database(owner)} TO PUBLIC, elt_reader")
    run(owner, "GRANT CREATE ON SCHEMA public TO PUBLIC, elt_reader")
    run(owner, "GRANT EXECUTE ON FUNCTION lo_create, lo_creat, lowrite TO PUBLIC")
    run(owner, "GRANT ALL ON DATABASE postgres TO PUBLIC")
    reader = reader_of(owner.dsn)
    run(reader, "SET default_transaction_read_only = off")
    run(reader, "SELECT lo_create(0)")
    assert postgres.upgrade(database(owner)).returncode == 0
    first = run(owner, RIGHTS)
    for statement in ("SELECT lo_create(0)", "CREATE TEMPORARY TABLE t (a int)", "CREATE TABLE public.t (a int)"):
        with pytest.raises(psycopg2.errors.InsufficientPrivilege):
            run(reader, statement)
    again = postgres.upgrade(database(owner))
    assert (again.returncode, again.stdout, again.stderr) == (0, "", "")
    assert run(owner, RIGHTS) == first


def test_what_the_reader_changes_of_itself_lasts_until_the_next_boot(
    postgres: Any, owner: Any, reader_of: Callable[[str], Any]
) -> None:
    reader = reader_of(owner.dsn)
    run(reader, "SET default_transaction_read_only = off")
    run(reader, "ALTER ROLE elt_reader SET default_transaction_read_only = off")
    run(reader, f"ALTER ROLE elt_reader IN DATABASE {database(owner)} SET default_transaction_read_only = off")
    run(reader, "ALTER ROLE elt_reader PASSWORD 'another'")
    try:
        with pytest.raises(psycopg2.OperationalError, match="password authentication failed"):
            reader_of(owner.dsn)
    finally:
        assert postgres.upgrade(database(owner)).returncode == 0
    assert run(reader_of(owner.dsn), "SHOW default_transaction_read_only") == [("on",)]


def test_a_right_that_the_owner_took_from_the_reader_stays_away(
    postgres: Any, owner: Any, reader_of: Callable[[str], Any]
) -> None:
    run(owner, "REVOKE SELECT ON customers FROM elt_reader")
    assert postgres.upgrade(database(owner)).returncode == 0
    with pytest.raises(psycopg2.errors.InsufficientPrivilege):
        run(reader_of(owner.dsn), "SELECT FROM customers")


def test_a_role_that_the_owner_dropped_is_not_made_again(postgres: Any, owner: Any) -> None:
    """Renamed, since the role has rights in the databases of other tests."""
    run(owner, "ALTER ROLE elt_reader RENAME TO renamed")
    try:
        answer = postgres.upgrade(database(owner))
        assert (answer.returncode, answer.stderr) == (0, "")
        assert run(owner, "SELECT FROM pg_roles WHERE rolname = 'elt_reader'") == []
    finally:
        run(owner, "ALTER ROLE renamed RENAME TO elt_reader")


def test_a_file_that_fails_is_named_with_its_line_and_leaves_nothing(
    postgres: Any, owner: Any, repo: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "upgrade"
    shutil.copytree(repo / "postgres" / "upgrade", folder)
    (folder / "98-broken.sql").write_text("CREATE TABLE half (a int);\n\nSELECT 1 / 0;\n")
    (folder / "99-after.sql").write_text("CREATE TABLE after_it (a int);\n")
    answer = postgres.upgrade(database(owner), folder)
    assert answer.returncode != 0
    assert answer.stderr.splitlines()[-1] == f"psql:{folder}/98-broken.sql:3: ERROR:  division by zero"
    assert run(owner, "SELECT to_regclass('half'), to_regclass('after_it')") == [(None, None)]


def test_a_password_that_is_not_set_is_refused(postgres: Any, owner: Any) -> None:
    answer = replace(postgres, reader_password="").upgrade(database(owner))
    assert answer.returncode != 0
    assert "POSTGRES_READER_PASSWORD is not set" in answer.stderr.splitlines()[-1]
