"""Values arrive exactly as they were."""

from dataclasses import replace
from datetime import date
from decimal import Decimal
from typing import Any
from urllib.parse import urlsplit, urlunsplit
from uuid import UUID

import pytest
from elt.errors import ValueRefusedError
from elt.mapping import NARROW
from elt.runs import load
from elt.runs.run import begin, load_table
from pydantic import SecretStr
from warehouse.errors import TerminalError

EVERY_TYPE = """
CREATE TYPE mood AS ENUM ('sad', 'it''s ok', 'täglich');
CREATE DOMAIN amount AS numeric(12, 2) CHECK (VALUE > -1000);
CREATE TYPE pair AS (a int, b text);
CREATE TABLE every_type (
    id bigint PRIMARY KEY, i2 smallint, i4 integer NOT NULL, i8 bigint, f4 real, f8 double precision,
    n numeric(20, 5), wide numeric(76, 30), money_like amount, unbounded numeric, thousands numeric(5, -3),
    tiny numeric(3, 5), b boolean, u uuid, t text, v varchar(20), c char(5), m mood, mn mood NOT NULL, j json,
    jb jsonb, raw bytea, raw_nn bytea NOT NULL, ts timestamp, tz timestamptz, d date, iv interval, ip inet, r int4range,
    tm time, p pair, ai integer[], at text[], an numeric(10, 3)[], ad date[], az timestamptz[], ab bytea[], am mood[],
    af float8[], abool boolean[], a2 integer[][], au uuid[]
)"""

NASTY = "tab\there, newline\nreturn\rbackslash\\ \\N \\t bell\x07 quote' \" ünï ☃ 𝄞 {wire} %s"


def test_values_of_every_type_arrive_as_they_were(shop: Any) -> None:
    shop.sql(
        EVERY_TYPE,
        """INSERT INTO every_type VALUES (
        1, -32768, 2147483647, -9223372036854775808, 1.1754944e-38, 0.30000000000000004,
        123456789012345.12345, 1234567890123456789012345678901234567890123456.123456789012345678901234567891, -12.30,
        12345678901234567890.00000000000000000000000000000000000001, 99000, 0.00123, true,
        'a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11', '', ' x ', 'ab', 'it''s ok', 'täglich', '{"a": [1, null]}', '{"b":"\\n"}',
        '\\x00ff0a095c', '\\x', '2024-02-29 23:59:59.999999', '2024-03-31 02:30:00+02', '9999-12-31',
        '1 day 02:03:04.5', '10.0.0.1/8', '[1,5)', '23:59:59.123456', '(1,"x y")',
        '{1,NULL,-3}', ARRAY['a,b', 'c"d', NULL, E'e\\\\f\\n', ''], '{1.250,NULL,-0.001}', '{2024-01-01,0001-01-01}',
        '{"2024-03-31 02:30:00.000001+02"}', ARRAY['\\x00ff'::bytea, '\\x'::bytea, NULL], '{sad,"it''s ok"}',
        '{0.1,5e-324,NaN,Infinity}', '{t,f,NULL}', '{{1,2},{3,4}}', '{a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11}')""",
        "INSERT INTO every_type (id, i4, mn, raw_nn) VALUES (2, 0, 'sad', '\\xdeadbeef')",
    )
    shop.tables("public.every_type")
    shop.load()
    names = [
        row[0] for row in shop.warehouse("SELECT name FROM system.columns WHERE database='raw' AND table='every_type'")
    ]
    assert names[-2:] == ["_elt_run", "_elt_loaded_at"]
    first, second = (
        dict(zip(names, row, strict=True))
        for row in shop.warehouse(
            "SELECT * REPLACE(hex(raw) AS raw, hex(raw_nn) AS raw_nn, arrayMap(x -> hex(x), ab) AS ab,"
            " toString(af) AS af, toString(f4) AS f4, toString(d) AS d, toString(ad) AS ad,"
            " toString(ts) AS ts, toString(tz) AS tz, toString(az) AS az) FROM raw.every_type ORDER BY id"
        )
    )
    assert {k: v for k, v in first.items() if not k.startswith("_elt")} == {
        "id": 1, "i2": -32768, "i4": 2147483647, "i8": -9223372036854775808, "f4": "1.1754944e-38",
        "f8": 0.30000000000000004, "n": Decimal("123456789012345.12345"),
        "wide": Decimal("1234567890123456789012345678901234567890123456.123456789012345678901234567891"),
        "money_like": Decimal("-12.30"),
        "unbounded": Decimal("12345678901234567890.00000000000000000000000000000000000001"),
        "thousands": Decimal(99000), "tiny": Decimal("0.00123"), "b": True,
        "u": UUID("a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11"), "t": "", "v": " x ", "c": "ab   ", "m": "it's ok",
        "mn": "täglich", "j": '{"a": [1, null]}', "jb": '{"b": "\\n"}', "raw": "00FF0A095C", "raw_nn": "",
        "ts": "2024-02-29 23:59:59.999999", "tz": "2024-03-31 00:30:00.000000", "d": "9999-12-31",
        "iv": "P1DT2H3M4.5S", "ip": "10.0.0.1/8", "r": "[1,5)", "tm": "23:59:59.123456", "p": '(1,"x y")',
        "ai": [1, None, -3], "at": ["a,b", 'c"d', None, "e\\f\n", ""],
        "an": [Decimal("1.250"), None, Decimal("-0.001")], "ad": "['2024-01-01','0001-01-01']",
        "az": "['2024-03-31 00:30:00.000001']", "ab": ["00FF", "", None], "am": ["sad", "it's ok"],
        "af": "[0.1,5e-324,nan,inf]", "abool": [True, False, None], "a2": [[1, 2], [3, 4]],
        "au": [UUID("a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11")],
    }  # fmt: skip
    arrays = {"ai", "at", "an", "ab", "am", "abool", "a2", "au"}
    assert all(second[name] == [] for name in arrays)
    given = arrays | {"id", "i4", "mn", "raw_nn", "ad", "af", "az", "_elt_run", "_elt_loaded_at"}
    assert all(second[name] is None for name in second.keys() - given)
    assert second["raw_nn"] == "DEADBEEF"


def test_only_nullable_columns_are_nullable_and_types_are_as_documented(shop: Any) -> None:
    shop.sql(EVERY_TYPE)
    shop.tables("public.every_type")
    shop.load()
    types = dict(shop.warehouse("SELECT name, type FROM system.columns WHERE database='raw' AND table='every_type'"))
    assert types["id"] == "Int64" and types["i2"] == "Nullable(Int16)" and types["raw_nn"] == "String"
    assert types["n"] == "Nullable(Decimal(20, 5))" and types["unbounded"] == "Nullable(Decimal(76, 38))"
    assert types["tz"] == "Nullable(DateTime64(6, 'UTC'))" and types["d"] == "Nullable(Date32)"
    assert types["m"] == "LowCardinality(Nullable(String))" and types["mn"] == "LowCardinality(String)"
    assert types["a2"] == "Array(Array(Nullable(Int32)))" and types["an"] == "Array(Nullable(Decimal(10, 3)))"
    assert types["_elt_run"] == "UInt64" and types["_elt_loaded_at"] == "DateTime64(6, 'UTC')"
    defaults = shop.warehouse(
        "SELECT count() FROM system.columns WHERE database='raw' AND table='every_type' AND default_kind != ''"
    )
    assert defaults == [(0,)]


def test_nasty_text_survives(shop: Any) -> None:
    texts = [NASTY, "\\N", "\\", "\t", "\n", "'", "NULL", "\x7f\x1b", "\r", "\\.", "", " ", "\ufeffx"]
    shop.sql("CREATE TABLE t (id int, a text, b text NOT NULL)", "INSERT INTO t VALUES (-1, NULL, '')")
    for number, text in enumerate(texts):
        literal = "U&'" + "".join(f"\\+{ord(char):06x}" for char in text) + "'"
        shop.sql(f"INSERT INTO t VALUES ({number}, {literal}, {literal})")
    shop.tables("public.t")
    shop.load()
    expected = [(-1, None, ""), *((number, text, text) for number, text in enumerate(texts))]
    assert shop.warehouse("SELECT id, a, b FROM raw.t ORDER BY id") == expected


@pytest.mark.parametrize(
    ("schema", "table", "column"),
    [
        ("public", "Select", "from"),
        ("public", 'we"ird `t` \\', "ta\tb"),
        ("Über Schema", "tàblé.x", "Spalte `1` % {a:b}"),
        ("public", "名" * 21, "колонка"),
        ("s", "t'", "it's"),
    ],
)
def test_names_that_need_quoting(shop: Any, schema: str, table: str, column: str) -> None:
    def quoted(name: str) -> str:
        return '"' + name.replace('"', '""') + '"'

    def entry(name: str) -> str:
        return quoted(name) if "." in name or '"' in name else name

    name = f"{quoted(schema)}.{quoted(table)}".replace("%", "%%")
    shop.sql(
        f"CREATE SCHEMA IF NOT EXISTS {quoted(schema)}",
        f"GRANT USAGE ON SCHEMA {quoted(schema)} TO elt_test_reader",
        f'CREATE TABLE {name} ({quoted(column)} bytea PRIMARY KEY, "Other" text)',
        f"INSERT INTO {name} VALUES ('\\x01', 'x')",
    )
    text = f"{entry(schema)}.{entry(table)}".replace("\\", "\\\\").replace('"', '\\"')
    shop.tables(f'name: "{text}"')
    done = shop.load()
    (published,) = done.published.tables
    assert published.target == (table if schema == "public" else f"{schema}__{table}")
    assert published.rows == 1
    columns = shop.warehouse(
        "SELECT name FROM system.columns WHERE database = 'raw' AND table NOT LIKE '%__loading_%' ORDER BY position"
    )
    assert (column,) in columns and ("Other",) in columns


def test_empty_tables_views_partitions_and_tables_without_key(shop: Any) -> None:
    shop.sql(
        "CREATE TABLE empty_one (id int PRIMARY KEY, t text)",
        "CREATE TABLE no_key (a int, b text)",
        "INSERT INTO no_key SELECT i / 2, 'x' FROM generate_series(1, 10) i",
        "CREATE TABLE parted (id int, at date) PARTITION BY RANGE (at)",
        "CREATE TABLE parted_1 PARTITION OF parted FOR VALUES FROM ('2024-01-01') TO ('2025-01-01')",
        "CREATE TABLE parted_2 PARTITION OF parted DEFAULT",
        "INSERT INTO parted SELECT i, date '2024-12-25' + i FROM generate_series(1, 20) i",
        "CREATE TABLE dropped (id int, gone text, kept text, made int GENERATED ALWAYS AS (id * 2) STORED)",
        "ALTER TABLE dropped DROP COLUMN gone",
        "INSERT INTO dropped (id, kept) VALUES (7, 'k')",
        "CREATE VIEW seen AS SELECT a, count(*) AS n FROM no_key GROUP BY a",
        "CREATE MATERIALIZED VIEW stored AS SELECT a FROM no_key",
    )
    shop.tables("public.empty_one", "public.no_key", "public.parted", "public.dropped", "public.seen", "public.stored")
    done = shop.load()
    assert {t.target: t.rows for t in done.published.tables} == {
        "empty_one": 0, "no_key": 10, "parted": 20, "dropped": 1, "seen": 6, "stored": 10,
    }  # fmt: skip
    assert shop.warehouse("SELECT id, kept, made FROM raw.dropped") == [(7, "k", 14)]
    assert shop.warehouse("SELECT sum(n) FROM raw.seen") == [(10,)]


def test_the_first_byte_of_a_table_may_be_anything(shop: Any) -> None:
    values = ["", " ", "\t", "\n", "a"]
    for number, value in enumerate(values):
        shop.sql(
            f"CREATE TABLE one{number} (a text NOT NULL, b text NOT NULL)",
            f"INSERT INTO one{number} VALUES ('{value}', ''), ('', 'x')",
            f"CREATE TABLE alone{number} AS SELECT a FROM one{number}",
        )
    shop.tables(*(f"public.{name}{number}" for name in ("one", "alone") for number in range(len(values))))
    shop.load()
    for number, value in enumerate(values):
        assert shop.warehouse(f"SELECT a, b FROM raw.one{number} ORDER BY b") == [(value, ""), ("", "x")]
        assert shop.warehouse(f"SELECT a FROM raw.alone{number} ORDER BY a") == [("",), (value,)]


def test_rows_that_look_like_a_header_are_rows(shop: Any) -> None:
    """As tables have them that somebody has filled from a file."""
    shop.sql(
        'CREATE TABLE filled (name text, "type" text)',
        "INSERT INTO filled VALUES ('name', 'type'), ('String', 'String'), ('a', 'b'), ('name', 'type')",
    )
    shop.tables("public.filled")
    shop.load()
    assert shop.warehouse("SELECT name, type FROM raw.filled ORDER BY name, type") == [
        ("String", "String"), ("a", "b"), ("name", "type"), ("name", "type")
    ]  # fmt: skip


def test_three_hundred_columns_with_long_names(shop: Any) -> None:
    names = [f"{'ж' * 28}{number}" for number in range(300)]
    shop.sql(f"CREATE TABLE wide ({', '.join(f'{name} int' for name in names)})", "INSERT INTO wide DEFAULT VALUES")
    shop.tables("public.wide")
    shop.load()
    found = shop.warehouse(
        "SELECT name FROM system.columns WHERE database = 'raw' AND table = 'wide' ORDER BY position"
    )
    assert [name for (name,) in found[:300]] == names


def test_a_server_that_moves_years_silently_gets_none_to_move(shop: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(load, "years_held", lambda _: NARROW)
    shop.sql("CREATE TABLE t (id int PRIMARY KEY, d date, ds date[])")
    shop.sql("INSERT INTO t VALUES (1, '2299-12-31', '{1900-01-01}'), (2, NULL, NULL)")
    shop.tables("public.t")
    shop.load()
    found = shop.warehouse("SELECT toString(d), toString(ds) FROM raw.t ORDER BY id")
    assert found[0] == ("2299-12-31", "['1900-01-01']")
    for change in ("d = '1899-12-31', ds = '{}'", "d = NULL, ds = '{2300-01-01}'"):
        shop.sql(f"UPDATE t SET {change} WHERE id = 2")
        with pytest.raises(ValueRefusedError, match="id = 2"):
            shop.load()


def test_excluded_columns_never_arrive_and_overrides_are_followed(shop: Any) -> None:
    shop.sql(
        "CREATE TABLE t (id int PRIMARY KEY, secret text, n numeric, d date)",
        "INSERT INTO t VALUES (1, 'password', 1.25, 'infinity')",
    )
    shop.tables("name: public.t, target: renamed, exclude: [secret], types: {n: 'Decimal(10, 2)', d: String}")
    shop.load()
    assert shop.warehouse("SELECT * EXCEPT(_elt_run, _elt_loaded_at) FROM raw.renamed") == [
        (1, Decimal("1.25"), "infinity")
    ]


UNHELD = [
    ("date", "infinity"),
    ("date", "-infinity"),
    ("date", "0044-03-15 BC"),
    ("date", "10000-01-01"),
    ("timestamp", "infinity"),
    ("timestamp", "0044-03-15 12:00:00 BC"),
    ("timestamp", "20000-01-01"),
    ("timestamptz", "-infinity"),
    ("numeric(10,2)", "NaN"),
    ("numeric", "NaN"),
    ("numeric", "Infinity"),
    ("numeric", "1e60"),
    ("numeric", "1e-39"),
    ("numeric(90,5)", "1e80"),
    ("date[]", "{2024-01-01,infinity}"),
    ("date[]", "{2024-01-01,0044-03-15 BC}"),
    ("timestamp[]", "{20000-01-01}"),
    ("timestamptz[]", "{infinity}"),
    ("numeric[]", "{1,NaN}"),
    ("numeric[]", "{1e-39}"),
    ("numeric(5,2)[]", "{1,NaN}"),
    ("int[]", "{{1,2},{3,4}}"),
    ("int[][]", "{1,2}"),
]


def test_a_value_that_cannot_be_held_is_named_with_its_row(shop: Any) -> None:
    names = []
    for number, (kind, value) in enumerate(UNHELD):
        shop.sql(
            f"CREATE TABLE t{number} (id int PRIMARY KEY, v {kind})",
            f"INSERT INTO t{number} SELECT i, CASE i WHEN 41 THEN '{value}'::{kind} END FROM generate_series(1, 50) i",
        )
        names.append(f"public.t{number}")
    shop.tables(*names)
    key = begin(shop.settings, run_key="scheduler/refused", tables=None, full_refresh=False)
    for name in names:
        with pytest.raises(ValueRefusedError) as caught:
            load_table(shop.settings, run=key, target=name.removeprefix("public."), attempt=1)
        assert (caught.value.table, caught.value.column, caught.value.key) == (name, "v", "id = 41")
    assert shop.warehouse("SELECT count() FROM system.tables WHERE database = 'raw' AND name LIKE 't%'") == [(0,)]


def test_edges_of_dates_and_instants_arrive(shop: Any) -> None:
    shop.sql(
        "CREATE TABLE t (id int PRIMARY KEY, d date, ts timestamp, tz timestamptz)",
        "INSERT INTO t VALUES (1, '0001-01-01', '0001-01-01', '0001-01-01+00'),"
        " (2, '1850-06-01', '1899-12-31 23:59:59.999999', '1969-12-31 23:59:59.999999+00'),"
        " (3, '9999-12-31', '9999-12-31 23:59:59.999999', '9999-12-31 23:59:59.999999+00')",
    )
    shop.tables("public.t")
    shop.load()
    assert shop.warehouse("SELECT toString(d), toString(ts), toString(tz) FROM raw.t ORDER BY id") == [
        ("0001-01-01", "0001-01-01 00:00:00.000000", "0001-01-01 00:00:00.000000"),
        ("1850-06-01", "1899-12-31 23:59:59.999999", "1969-12-31 23:59:59.999999"),
        ("9999-12-31", "9999-12-31 23:59:59.999999", "9999-12-31 23:59:59.999999"),
    ]


def test_a_new_column_arrives_and_a_dropped_one_disappears_by_themselves(shop: Any) -> None:
    shop.sql("CREATE TABLE t (id int PRIMARY KEY, a text)", "INSERT INTO t VALUES (1, 'x')")
    shop.tables("public.t")
    shop.load()
    shop.sql("ALTER TABLE t DROP COLUMN a, ADD COLUMN b date DEFAULT '2024-01-01'")
    shop.load()
    assert shop.warehouse("SELECT * EXCEPT(_elt_run, _elt_loaded_at) FROM raw.t") == [(1, date(2024, 1, 1))]


def test_the_loaders_own_columns_say_which_run_and_when(shop: Any) -> None:
    shop.sql("CREATE TABLE t (id int)", "INSERT INTO t VALUES (1), (2)")
    shop.tables("public.t")
    done = shop.load()
    assert shop.warehouse("SELECT DISTINCT _elt_run FROM raw.t") == [(done.run,)]
    assert shop.warehouse("SELECT uniqExact(_elt_loaded_at), max(_elt_loaded_at) > now() - 60 FROM raw.t") == [
        (1, True)
    ]


@pytest.mark.parametrize(
    ("ddl", "entry", "words"),
    [
        ("CREATE TABLE t (_elt_run int)", "public.t", "_elt_ are the loader's own"),
        ("CREATE TABLE t (a int)", "name: public.t, exclude: [b]", "has no column b"),
        ("CREATE TABLE t (a int)", "name: public.t, exclude: [a]", "every column is excluded"),
        ("CREATE TABLE t (a int)", "name: public.t, types: {a: 'Decimal(3, 1)'}", "only numeric columns"),
        ("CREATE TABLE t (a int)", "public.other", "no table public.other"),
        ("CREATE TABLE t ()", "public.t", "no columns"),
    ],
)
def test_what_does_not_fit_is_refused_before_anything_is_made(shop: Any, ddl: str, entry: str, words: str) -> None:
    shop.sql(ddl)
    shop.tables(entry)
    with pytest.raises(TerminalError, match=words):
        shop.load()


def test_arrays_under_dotted_names_may_differ_in_length(shop: Any) -> None:
    shop.sql(
        'CREATE TABLE d (id int PRIMARY KEY, "a.x" int[], "a.y" int[] NOT NULL, "a_x" text, "b.x" int[], "c.x" int)',
        "INSERT INTO d VALUES (1, '{1}', '{1,2,3}', 'taken', '{7}', 5)",
    )
    shop.tables("public.d")
    shop.load()
    # What shares its first part with no other array, or is no array, keeps its name.
    assert shop.warehouse("SELECT a_x_2, a_y, a_x, `b.x`, `c.x` FROM raw.d") == [([1], [1, 2, 3], "taken", [7], 5)]
    code, out, _ = shop.command("check")
    assert code == 0
    assert "a.x as a_x_2, a.y as a_y" in " ".join(out.split())


def test_names_of_a_database_in_another_encoding(shop: Any) -> None:
    name = "elt_latin1"
    shop.sql(
        f"DROP DATABASE IF EXISTS {name}",
        f"CREATE DATABASE {name} ENCODING 'LATIN1' LC_COLLATE 'C' LC_CTYPE 'C' TEMPLATE template0",
    )
    own, reader = (
        urlunsplit(urlsplit(url)._replace(path=f"/{name}"))
        for url in (shop.admin_dsn, shop.settings.source_url.get_secret_value())
    )
    try:
        other = replace(
            shop,
            admin_dsn=own,
            settings=shop.settings.model_copy(update={"source_url": SecretStr(reader)}),
            environment=shop.environment | {"SOURCE_URL": reader},
        )
        other.sql(
            'CREATE TABLE "tàble" ("naïve" text PRIMARY KEY, v text)',
            """INSERT INTO "tàble" VALUES ('é', 'ü')""",
            'GRANT SELECT ON "tàble" TO elt_test_reader',
        )
        other.tables("name: public.tàble, mask: [v], order_by: [naïve]")
        other.load()
        assert shop.warehouse("SELECT `naïve`, length(v) FROM raw.`tàble`") == [("é", 64)]
    finally:
        shop.sql(f"DROP DATABASE {name} WITH (FORCE)")


def test_a_role_that_quotes_all_identifiers_changes_nothing(shop: Any) -> None:
    shop.sql(
        "CREATE TABLE q (id bigint PRIMARY KEY, n numeric(12,2), t timestamptz, u uuid)",
        "INSERT INTO q VALUES (1, 1.5, now(), NULL)",
        "ALTER ROLE elt_test_reader SET quote_all_identifiers = on",
    )
    try:
        shop.tables("public.q")
        shop.load()
        comments = shop.warehouse("SELECT comment FROM system.columns WHERE database = 'raw' AND table = 'q' LIMIT 4")
    finally:
        shop.sql("ALTER ROLE elt_test_reader RESET quote_all_identifiers")
    assert comments == [("bigint",), ("numeric(12,2)",), ("timestamp with time zone",), ("uuid",)]
