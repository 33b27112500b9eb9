"""Random rows over the types with a counterpart come back as Postgres has them."""

import json
import struct
from typing import Any

import psycopg2
import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from psycopg2.extras import execute_values

ROWS = 1000
MANY_ROWS = 12000

TABLE = """
CREATE TABLE random_rows (
    id int PRIMARY KEY, i8 bigint, f8 double precision, f4 real, n numeric(30, 10), nn numeric, t text, b bytea,
    at timestamptz, wall timestamp, d date, flag boolean, u uuid, ints integer[], texts text[], nums numeric(12, 4)[],
    ats timestamptz[], days date[], floats double precision[], bytes bytea[]
)"""

# What Postgres prints, in the words that ClickHouse uses for the same value.
SOURCE = """
SELECT id, i8::text, f8, f4, n, trim_scale(nn), t, encode(b, 'hex'), to_char(at AT TIME ZONE 'UTC', 'YYYY-MM-DD HH24:MI:SS.US'),
    to_char(wall, 'YYYY-MM-DD HH24:MI:SS.US'), to_char(d, 'YYYY-MM-DD'), flag, u::text, coalesce(ints, '{}'), coalesce(texts, '{}'),
    coalesce(nums, '{}'), (SELECT coalesce(array_agg(to_char(x AT TIME ZONE 'UTC', 'YYYY-MM-DD HH24:MI:SS.US') ORDER BY p), '{}')
    FROM unnest(ats) WITH ORDINALITY AS a (x, p)), coalesce(days, '{}')::text[], coalesce(floats, '{}'),
    (SELECT coalesce(array_agg(encode(x, 'hex') ORDER BY p), '{}') FROM unnest(bytes) WITH ORDINALITY AS a (x, p))
FROM random_rows ORDER BY id"""

WAREHOUSE = """
SELECT id, toString(i8), f8, f4, n, nn, t, lower(hex(b)), toString(at), toString(wall), toString(d), flag, toString(u), ints, texts,
    nums, arrayMap(x -> toString(x), ats), arrayMap(x -> toString(x), days), floats, arrayMap(x -> lower(hex(x)), bytes)
FROM raw.random_rows ORDER BY id"""


def maybe(values: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    return st.none() | values


def several(values: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    return maybe(st.lists(maybe(values), max_size=3))


def digits(whole: int, fraction: int) -> st.SearchStrategy[str]:
    """Numbers of so many digits before and behind the point at most."""
    return st.tuples(st.sampled_from(["", "-"]), st.integers(0, 10**whole - 1), st.integers(0, 10**fraction - 1)).map(
        lambda parts: f"{parts[0]}{parts[1]}.{parts[2]:0{fraction}}"
    )


# All that Postgres' text holds, and often what COPY, TabSeparated and arrays of JSON escape.
TEXT = st.text(
    st.sampled_from("\t\n\r\\'\"\b\f\v{}[],N ") | st.characters(codec="utf-8", min_codepoint=1),
    max_size=12,
)
INSTANT = st.datetimes().map(lambda at: at.isoformat(" ", "microseconds"))
DAY = st.dates().map(str)
REAL = st.floats()
ROW = st.tuples(
    maybe(st.integers(-(2**63), 2**63 - 1)),
    maybe(REAL),
    maybe(st.floats(width=32)),
    maybe(digits(20, 10)),
    maybe(st.integers(1, 38).flatmap(lambda fraction: digits(38, fraction))),
    maybe(TEXT),
    maybe(st.binary(max_size=20)),
    maybe(INSTANT.map(lambda at: at + "+00")),
    maybe(INSTANT),
    maybe(DAY),
    maybe(st.booleans()),
    maybe(st.uuids().map(str)),
    several(st.integers(-(2**31), 2**31 - 1)),
    several(TEXT),
    several(digits(8, 4)),
    several(INSTANT.map(lambda at: at + "+00")),
    several(DAY),
    several(REAL),
    several(st.binary(max_size=5)),
)


def drawn(count: int) -> list[tuple[Any, ...]]:
    """So many rows of hypothesis: it likes the edges of each type. They are collected, so that one load carries them all."""
    rows: list[tuple[Any, ...]] = []

    @settings(
        max_examples=count,
        database=None,
        deadline=None,
        derandomize=True,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(ROW)
    def collect(values: tuple[Any, ...]) -> None:
        rows.append((len(rows), *values))

    collect()
    return rows


def bits(value: Any, form: str) -> Any:
    """A float by its bits, so that -0.0 and NaN are what they are (of NaN there is one)."""
    if isinstance(value, list):
        return [bits(one, form) for one in value]
    if value is None or value != value:
        return str(value)
    return struct.pack(form, value)


def comparable(found: tuple[Any, ...]) -> list[Any]:
    values = [list(value) if isinstance(value, list | tuple) else value for value in found]
    values[2], values[3], values[18] = bits(values[2], "<d"), bits(values[3], "<f"), bits(values[18], "<d")
    return values


@pytest.mark.parametrize("count", [ROWS, pytest.param(MANY_ROWS, marks=pytest.mark.long)])
def test_random_rows_arrive_exactly(shop: Any, count: int) -> None:
    rows = drawn(count)
    assert len(rows) == count
    connection = psycopg2.connect(shop.admin_dsn)
    with connection, connection.cursor() as cursor:
        cursor.execute(TABLE)
        casts = "(%s,%s,%s,%s,%s,%s,%s,%s,%s,%s,%s,%s,%s::uuid,%s::int[],%s::text[],%s::numeric[],%s::timestamptz[],%s::date[],%s::float8[],%s::bytea[])"
        execute_values(cursor, "INSERT INTO random_rows VALUES %s", rows, template=casts, page_size=200)
        cursor.execute(SOURCE)
        expected = [comparable(found) for found in cursor.fetchall()]
    connection.close()
    shop.tables("public.random_rows")
    shop.load(verify=True)
    seen = [comparable(found) for found in shop.warehouse(WAREHOUSE)]
    assert len(seen) == count
    different = [
        (was, now)
        for one, other in zip(expected, seen, strict=True)
        for was, now in zip(one, other, strict=True)
        if was != now
    ]
    assert different == []


# Types without a counterpart, and how Postgres itself makes a value of a random number.
TEXTS = {
    "time": "time '00:00' + {r} * interval '1 day'",
    "timetz": "(time '00:00' + {r} * interval '1 day') AT TIME ZONE 'Asia/Kolkata'",
    "interval": "make_interval(months => ({r} * 100)::int, secs => {r} * 1e6)",
    "inet": "inet '10.0.0.0' + ({r} * 16777215)::int",
    "cidr": "set_masklen(cidr '10.0.0.0', ({r} * 24 + 8)::int)",
    "macaddr": "left(md5({r}::text), 12)::macaddr",
    "macaddr8": "left(md5({r}::text), 16)::macaddr8",
    "money": "(({r} - 0.5) * 1e9)::numeric::money",
    "char(7)": "left(md5({r}::text), ({r} * 7)::int)::char(7)",
    "bit(5)": "({r} * 31)::int::bit(5)",
    "varbit": "({r} * 255)::int::bit(8)::varbit",
    "xml": "xmlelement(name a, xmlattributes({r} AS b), chr(9) || '<&>')",
    "int4range": "int4range(-({r} * 1000)::int, ({r} * 1000)::int)",
    "numrange": "numrange(NULL, {r}::numeric, '[]')",
    "tstzrange": "tstzrange('2020-01-01', timestamptz '2020-01-01' + {r} * interval '9 years')",
    "int8multirange": "int8multirange(int8range(1, 5), int8range(10, 10 + ({r} * 9)::int8))",
    "tsvector": "to_tsvector('simple', md5({r}::text) || ' it''s ' || {r}::text)",
    "tsquery": "to_tsquery('simple', 'a & !b' || ({r} * 9)::int)",
    "point": "point({r}, -{r})",
    "box": "box(point(0, 0), point({r}, {r}))",
    "polygon": "polygon(box(point(0, 0), point({r}, {r})))",
    "path": "path(polygon(box(point(0, 0), point({r}, {r}))))",
    "jsonb": "jsonb_build_object('a', {r}, 'tab', chr(9), 'n', NULL, 'u', chr(9731))",
    "json": "to_json(ARRAY[{r}::text, chr(10), chr(92)])",
    "pg_lsn": "pg_lsn '0/0' + ({r} * 1e9)::numeric",
    "mood": "(enum_range(NULL::mood))[1 + ({r} * 2)::int]",
    "pair": "ROW(({r} * 9)::int, 'a,\"b' || chr(9))::pair",
    "positive": "(1 + {r} * 9)::int::positive",
    "mood[]": "ARRAY[NULL, (enum_range(NULL::mood))[1 + ({r} * 2)::int]]",
    "pair[]": "ARRAY[ROW(({r} * 9)::int, 'x')::pair]",
}


@pytest.mark.parametrize("count", [200, pytest.param(MANY_ROWS, marks=pytest.mark.long)])
def test_types_without_a_counterpart_arrive_as_the_text_that_postgres_prints(shop: Any, count: int) -> None:
    shop.sql(
        "CREATE TYPE mood AS ENUM ('sad', 'o''k', 'hap\ty')",
        "CREATE TYPE pair AS (a int, b text)",
        "CREATE DOMAIN positive AS int CHECK (VALUE > 0)",
        "CREATE TABLE texts (id int PRIMARY KEY, " + ", ".join(f"c{n} {kind}" for n, kind in enumerate(TEXTS)) + ")",
        "SELECT setseed(0.5)",
    )
    values = ", ".join(f"CASE WHEN random() < 0.9 THEN {value.format(r='r.r')} END" for value in TEXTS.values())
    shop.sql(
        "SET intervalstyle = 'iso_8601'",
        f"INSERT INTO texts SELECT i, {values} FROM generate_series(1, {count}) i, LATERAL (SELECT random() + 0 * i AS r) r",
    )
    shop.tables("public.texts")
    shop.load(verify=True)
    for number, kind in enumerate(TEXTS):
        if kind.endswith("[]"):
            sent = f"coalesce(to_json(c{number}::text[])::text, '[]')"
            got = f"toJSONString(c{number})"
        else:
            # A cast of char(n) to text would take its blanks away.
            sent = f"c{number}" if kind.startswith("char") else f"c{number}::text"
            got = f"toString(c{number})"
        expected = shop.sql(
            "SET timezone = 'UTC'",
            "SET intervalstyle = 'iso_8601'",
            "SET extra_float_digits = 3",
            f"SELECT {sent} FROM texts ORDER BY id",
        )
        seen = shop.warehouse(f"SELECT {got} FROM raw.texts ORDER BY id")
        if kind.endswith("[]"):
            assert [json.loads(row[0]) for row in seen] == [json.loads(row[0]) for row in expected], kind
        else:
            assert [row[0] for row in seen] == [row[0] for row in expected], kind
