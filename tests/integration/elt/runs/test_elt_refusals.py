"""Every refusal names its table, and column and row where they can be known."""

import dataclasses
from collections.abc import Iterator
from typing import Any

import psycopg2
import pytest
from elt.cli.check import check
from elt.errors import ValueRefusedError
from pydantic import SecretStr
from warehouse.errors import PipelineError, TerminalError


@pytest.fixture
def ascii_shop(shop: Any, postgres: Any) -> Iterator[Any]:
    """The test's source in a database without an encoding."""
    postgres_dsn = postgres.dsn()
    owner = psycopg2.connect(postgres_dsn)
    owner.autocommit = True
    owner.cursor().execute("DROP DATABASE IF EXISTS elt_ascii")
    owner.cursor().execute(
        "CREATE DATABASE elt_ascii ENCODING 'SQL_ASCII' LC_COLLATE 'C' LC_CTYPE 'C' TEMPLATE template0"
    )
    admin_dsn = postgres.dsn(dbname="elt_ascii")
    settings = shop.settings.model_copy(update={"source_url": SecretStr(admin_dsn)})
    try:
        yield dataclasses.replace(
            shop, admin_dsn=admin_dsn, settings=settings, environment=shop.environment | {"SOURCE_URL": admin_dsn}
        )
    finally:
        owner.cursor().execute("DROP DATABASE elt_ascii")
        owner.close()


@pytest.mark.parametrize("kind", ["text", "varchar(20)", "text[]"])
def test_bytes_that_are_no_utf8_name_table_column_and_row(ascii_shop: Any, kind: str) -> None:
    value = (
        "ARRAY[convert_from('\\x61ff62', 'SQL_ASCII')]"
        if kind.endswith("[]")
        else "convert_from('\\x61ff62', 'SQL_ASCII')"
    )
    ascii_shop.sql(
        f"CREATE TABLE notes (id int PRIMARY KEY, body {kind}, n int)",
        f"INSERT INTO notes SELECT i, {value.replace('ff', 'c3a9')}, i FROM generate_series(1, 5) i",
        f"UPDATE notes SET body = {value} WHERE id = 4",
    )
    ascii_shop.tables("public.notes")
    with pytest.raises(
        ValueRefusedError, match=r"public\.notes\.body cannot be copied: the row id = 4 holds .*a\\377b"
    ):
        ascii_shop.load()
    ascii_shop.sql("DELETE FROM notes WHERE id = 4")
    assert ascii_shop.load().loads[0].rows == 4


def test_values_that_postgres_cannot_send_name_table_column_and_row(shop: Any) -> None:
    shop.sql("CREATE TABLE files (id int PRIMARY KEY, body bytea, note text)", "INSERT INTO files VALUES (1, 'a', 'b')")
    half = "decode(repeat('00', 270000000), 'hex')"
    shop.sql(f"INSERT INTO files SELECT 2, {half} || {half}, 'c'")
    shop.tables("public.files")
    with pytest.raises(
        ValueRefusedError, match=r"public\.files\.body cannot be copied: the row id = 2 holds 540,000,000 bytes"
    ):
        shop.load()


def test_a_materialized_view_without_data_is_named_with_its_cure(shop: Any) -> None:
    shop.sql("CREATE MATERIALIZED VIEW totals AS SELECT 1 AS one WITH NO DATA")
    shop.tables("public.totals")
    (mistake,) = check(shop.settings).mistakes
    with pytest.raises(TerminalError) as caught:
        shop.load()
    for text in (mistake, str(caught.value)):
        assert "public.totals" in text and "REFRESH MATERIALIZED VIEW" in text
    shop.sql("REFRESH MATERIALIZED VIEW totals")
    assert shop.load().loads[0].rows == 1


@pytest.mark.parametrize(
    ("definition", "entry"),
    [
        ("a int PRIMARY KEY", "partition_by: toYear(nothing)"),
        ("a int PRIMARY KEY, b float NOT NULL DEFAULT 1", "partition_by: b"),
        ("a int PRIMARY KEY", "where: a / 0 = 1"),
        ("a int PRIMARY KEY", "where: nothing = 1"),
    ],
)
def test_what_source_and_warehouse_refuse_names_the_table(shop: Any, definition: str, entry: str) -> None:
    shop.sql("CREATE TABLE good (a int)", f"CREATE TABLE odd ({definition})", "INSERT INTO odd VALUES (1)")
    shop.tables("public.good", f"name: public.odd, {entry}")
    with pytest.raises(PipelineError, match=r"public\.odd"):
        shop.load()


def test_a_table_that_policies_thin_out_and_one_withheld_are_named(shop: Any) -> None:
    shop.sql(
        "CREATE TABLE good (a int)",
        "CREATE TABLE guarded (a int)",
        "ALTER TABLE guarded ENABLE ROW LEVEL SECURITY",
        "CREATE TABLE secret (a int)",
        "REVOKE SELECT ON secret FROM elt_test_reader",
    )
    for table in ("guarded", "secret"):
        shop.tables("public.good", f"public.{table}")
        assert all(f"public.{table}" in mistake for mistake in check(shop.settings).mistakes)
        with pytest.raises(TerminalError, match=rf"public\.{table}"):
            shop.load()


def test_a_table_that_is_locked_is_named_among_those_of_the_run(shop: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("elt.sources.postgres.sessions.session.LOCK_TIMEOUT_SECONDS", 1)
    shop.sql("CREATE TABLE good (a int)", "CREATE TABLE busy (a int)")
    shop.tables("public.good", "public.busy")
    blocker = psycopg2.connect(shop.admin_dsn)
    try:
        blocker.cursor().execute("LOCK TABLE busy IN ACCESS EXCLUSIVE MODE")
        with pytest.raises(PipelineError, match=r"^public\.busy is being altered"):
            shop.load()
    finally:
        blocker.close()
