"""Incremental tables go on from the right rows: the same table of the same source, up to a watermark that a clock has shown."""

from dataclasses import replace
from typing import Any
from urllib.parse import urlsplit, urlunsplit

import pytest
from elt.cli.check import check
from pydantic import SecretStr
from warehouse.errors import TerminalError

T = "name: public.t, mode: incremental, cursor: updated_at"
MADE = "CREATE TABLE t (id int PRIMARY KEY, v text, updated_at timestamptz NOT NULL DEFAULT now())"


def load(shop: Any) -> tuple[str, int, str]:
    (done,) = shop.load().loads
    return done.mode, done.rows, done.note


def rows(shop: Any, columns: str = "id, v") -> list[tuple[Any, ...]]:
    return list(shop.warehouse(f"SELECT {columns} FROM raw.t FINAL ORDER BY ALL"))


def of_database(shop: Any, name: str) -> Any:
    """The shop as another database of the same server."""
    own, reader = (
        urlunsplit(urlsplit(url)._replace(path=f"/{name}"))
        for url in (shop.admin_dsn, shop.settings.source_url.get_secret_value())
    )
    return replace(
        shop,
        admin_dsn=own,
        settings=shop.settings.model_copy(update={"source_url": SecretStr(reader)}),
        environment=shop.environment | {"SOURCE_URL": reader},
    )


def test_another_database_is_copied_whole_and_never_mixed(shop: Any) -> None:
    shop.sql(MADE, "INSERT INTO t VALUES (1, 'stag'), (2, 'stag')")
    shop.tables(T)
    assert load(shop) == ("full", 2, "")
    shop.sql("CREATE DATABASE elt_other")
    try:
        prod = of_database(shop, "elt_other")
        prod.sql(MADE, "INSERT INTO t VALUES (1, 'prod', '2020-01-01')", "GRANT SELECT ON t TO elt_test_reader")
        mode, count, note = load(prod)
        assert (mode, count) == ("full", 1)
        assert "public.t is copied whole: it was copied from another database" in note
        assert rows(shop) == [(1, "prod")]
        assert load(prod) == ("incremental", 1, "")
    finally:
        shop.sql("DROP DATABASE elt_other WITH (FORCE)")


def test_another_host_is_another_source_unless_it_is_said(shop: Any) -> None:
    shop.sql(MADE, "INSERT INTO t VALUES (1, 'a')")
    shop.tables(T)
    load(shop)
    url = shop.settings.source_url.get_secret_value()
    elsewhere = url.replace("127.0.0.1", "localhost")
    assert elsewhere != url
    other = replace(shop, settings=shop.settings.model_copy(update={"source_url": SecretStr(elsewhere)}))
    mode, _, note = load(other)
    assert mode == "full" and "from 127.0.0.1:" in note and "comes from localhost:" in note and "any_host: true" in note
    text = shop.settings.elt_pipeline.read_text()
    shop.settings.elt_pipeline.write_text(
        text.replace("    kind: postgres\n", "    kind: postgres\n    any_host: true\n")
    )
    assert load(shop)[0] == "incremental"


CHANGES = {
    "made anew": ("DROP TABLE t", MADE, "INSERT INTO t VALUES (1, 'new', '2020-01-01')", "GRANT SELECT ON t TO PUBLIC"),
    "swapped by a rename": (
        MADE.replace("TABLE t", "TABLE u"),
        "INSERT INTO u VALUES (1, 'new', '2020-01-01')",
        "GRANT SELECT ON u TO PUBLIC",
        "ALTER TABLE t RENAME TO old",
        "ALTER TABLE u RENAME TO t",
    ),
    "restored": ("TRUNCATE t", "INSERT INTO t VALUES (1, 'new', '2020-01-01')"),
    "another type by USING": ("ALTER TABLE t ALTER v TYPE varchar USING 'new'",),
    "the last column dropped and added": ("ALTER TABLE t DROP w", "ALTER TABLE t ADD w int DEFAULT 7"),
    "another expression of a generated column": (
        "ALTER TABLE t DROP g",
        "ALTER TABLE t ADD g int GENERATED ALWAYS AS (id + 1) STORED",
    ),
    "a label renamed": ("ALTER TYPE mood RENAME VALUE 'sad' TO 'low'",),
}


@pytest.mark.parametrize("change", CHANGES)
def test_a_table_that_was_changed_under_its_name_is_copied_whole(shop: Any, change: str) -> None:
    shop.sql(
        "CREATE TYPE mood AS ENUM ('sad', 'ok')",
        MADE,
        "ALTER TABLE t ADD m mood[] DEFAULT '{sad}'",
        "ALTER TABLE t ADD g int GENERATED ALWAYS AS (id) STORED",
        "ALTER TABLE t ADD w int DEFAULT 5",
        "INSERT INTO t VALUES (1, 'a', '2020-01-01'), (2, 'b', '2020-01-01'), (3, 'c', now())",
    )
    shop.tables(T)
    load(shop)
    shop.sql(*CHANGES[change])
    mode, count, note = load(shop)
    assert mode == "full" and "public.t is copied whole: " in note
    columns = [
        name
        for (name,) in shop.sql(
            "SELECT attname FROM pg_attribute WHERE attrelid = 't'::regclass AND attnum > 0 AND NOT attisdropped"
        )
    ]
    there = shop.sql(
        f"SELECT {', '.join(f'{name}::text' for name in columns if name not in ('updated_at', 'm'))} FROM t ORDER BY 1"
    )
    here = ", ".join(f"toString({name})" for name in columns if name not in ("updated_at", "m"))
    assert rows(shop, here) == there and count == len(there)
    assert load(shop)[0] == "incremental"


def test_an_added_label_or_a_vacuum_changes_nothing(shop: Any) -> None:
    shop.sql("CREATE TYPE mood AS ENUM ('sad')", MADE, "ALTER TABLE t ADD m mood", "INSERT INTO t VALUES (1, 'a')")
    shop.tables(T)
    load(shop)
    shop.sql("ALTER TYPE mood ADD VALUE 'ok' BEFORE 'sad'", "VACUUM ANALYZE t", "REINDEX TABLE t")
    shop.sql("INSERT INTO t VALUES (2, 'b', now(), 'ok')")
    assert load(shop) == ("incremental", 2, "")


def test_a_new_partition_is_read_whole_and_a_detached_one_is_told(shop: Any) -> None:
    shop.sql(
        "CREATE TABLE t (id int, v text, updated_at timestamptz NOT NULL DEFAULT now(), PRIMARY KEY (id)) PARTITION BY RANGE (id)",
        "CREATE TABLE t1 PARTITION OF t FOR VALUES FROM (0) TO (10)",
        "INSERT INTO t VALUES (1, 'a', '2020-01-01'), (2, 'b', now())",
        "CREATE TABLE t2 (id int PRIMARY KEY, v text, updated_at timestamptz NOT NULL)",
        "INSERT INTO t2 VALUES (11, 'old', '2019-01-01'), (12, 'older', '2018-01-01')",
    )
    shop.tables(T)
    load(shop)
    shop.sql("ALTER TABLE t ATTACH PARTITION t2 FOR VALUES FROM (10) TO (20)")
    assert load(shop) == ("incremental", 3, "")
    assert [id for (id,) in rows(shop, "id")] == [1, 2, 11, 12]
    shop.sql("ALTER TABLE t DETACH PARTITION t1")
    mode, _, note = load(shop)
    assert mode == "incremental" and "public.t1 is no partition of public.t any more" in note
    assert load(shop)[2] == ""


def test_a_base_of_a_version_that_kept_no_origin_is_trusted_once(shop: Any) -> None:
    shop.sql(MADE, "INSERT INTO t VALUES (1, 'a')")
    shop.tables(T)
    load(shop)
    shop.admin_client.command(
        "INSERT INTO ops.loads SELECT * REPLACE ('' AS origin, version + 1 AS version) FROM ops.loads FINAL WHERE target = 't'"
        " ORDER BY run DESC LIMIT 1"
    )
    assert load(shop)[0] == "incremental"
    shop.sql("TRUNCATE t")
    assert load(shop)[0] == "full"


@pytest.mark.parametrize("zone", ["UTC", "America/Los_Angeles", "Pacific/Tongatapu"])
@pytest.mark.parametrize("kind", ["timestamp", "timestamptz", "date"])
def test_one_value_from_the_future_stops_nothing(shop: Any, kind: str, zone: str) -> None:
    """Tongatapu is UTC+13, Los Angeles UTC-8 or -7; the wall clock is the database's."""
    database = urlsplit(shop.admin_dsn).path.strip("/")
    shop.sql(f"ALTER DATABASE {database} SET timezone = '{zone}'")
    try:
        shop.sql(
            f"CREATE TABLE t (id int PRIMARY KEY, v text, updated_at {kind} NOT NULL)",
            "INSERT INTO t VALUES (1, 'a', now()), (2, 'typo', '2099-01-01')",
        )
        shop.tables(T)
        mode, count, note = load(shop)
        assert (mode, count) == ("full", 2) and "1 rows of public.t have updated_at later than" in note
        shop.sql("INSERT INTO t VALUES (3, 'new', now())", "UPDATE t SET v = 'b', updated_at = now() WHERE id = 1")
        mode, count, note = load(shop)
        assert (mode, count) == ("incremental", 3) and "1 rows" in note
        assert rows(shop) == [(1, "b"), (2, "typo"), (3, "new")]
        (table,) = check(shop.settings).tables
        assert any("1 rows have a updated_at that no clock shows yet" in one for one in table.notes)
    finally:
        shop.sql(f"ALTER DATABASE {database} RESET timezone")


def test_a_clock_ahead_of_the_database_s_is_followed_by_its_zone(shop: Any) -> None:
    shop.sql("CREATE TABLE t (id int PRIMARY KEY, v text, updated_at timestamp NOT NULL)")
    shop.sql("INSERT INTO t VALUES (1, 'a', now() AT TIME ZONE 'Pacific/Tongatapu')")
    shop.tables(f"{T}, cursor_timezone: Pacific/Tongatapu, lookback: 1s")
    load(shop)
    mark = "SELECT watermark FROM ops.loads FINAL WHERE target = 't' ORDER BY run DESC LIMIT 1"
    (written,) = shop.sql("SELECT updated_at FROM t")[0]
    assert str(written)[:16] <= shop.warehouse(mark)[0][0][:16]
    shop.tables(f"{T}, cursor_timezone: Nowhere/Land")
    code, _, err = shop.command("load")
    assert code == 1 and "no time zone" in err


def test_a_watermark_from_the_future_of_an_earlier_version_is_left_behind(shop: Any) -> None:
    shop.sql(MADE, "INSERT INTO t VALUES (1, 'a')")
    shop.tables(T)
    load(shop)
    shop.admin_client.command(
        "INSERT INTO ops.loads SELECT * REPLACE ('2099-01-01 00:00:00' AS watermark, version + 1 AS version) FROM ops.loads FINAL"
        " WHERE target = 't' ORDER BY run DESC LIMIT 1"
    )
    mode, _, note = load(shop)
    assert mode == "full" and "its watermark 2099-01-01 00:00:00 lies in the future" in note


def test_inherited_tables_have_no_key(shop: Any) -> None:
    shop.sql(
        MADE,
        "CREATE TABLE child () INHERITS (t)",
        "INSERT INTO t VALUES (1, 'parent')",
        "INSERT INTO child VALUES (1, 'child')",
    )
    shop.tables(T)
    with pytest.raises(TerminalError, match="tables that inherit from it"):
        shop.load()
    shop.tables(f"{T}, key: [id]")
    with pytest.raises(TerminalError, match="1 keys"):
        shop.load()
    shop.tables("public.t")
    load(shop)
    assert shop.warehouse("SELECT v FROM raw.t ORDER BY v") == [("child",), ("parent",)]


def test_a_key_given_by_hand_is_looked_at_in_every_run(shop: Any) -> None:
    shop.sql("CREATE TABLE t (a int NOT NULL, v text, updated_at timestamptz NOT NULL DEFAULT now())")
    shop.sql("INSERT INTO t VALUES (1, 'old', '2020-01-01'), (2, 'new', now())")
    shop.tables(f"{T}, key: [a], lookback: 1s")
    load(shop)
    shop.sql("UPDATE t SET v = 'newer', updated_at = now() WHERE a = 2")
    assert load(shop)[0] == "incremental"
    shop.sql("INSERT INTO t VALUES (1, 'another row')")
    with pytest.raises(TerminalError, match="1 keys \\(a\\) that stand in more than one row"):
        shop.load()
    assert rows(shop, "a, v") == [(1, "old"), (2, "newer")]
