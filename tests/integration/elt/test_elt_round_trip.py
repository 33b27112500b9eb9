"""Random rows over the types with a counterpart come back as Postgres has them."""

import json
import random
import struct
from typing import Any

import psycopg2
import pytest
from psycopg2.extras import execute_values

ROWS = 2000
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


def maybe(dice: random.Random, value: Any) -> Any:
    return None if dice.random() < 0.1 else value


def text(dice: random.Random) -> str:
    kinds = ("abc", "\t\n\r\\'\"\b\f\v", "ünïçødé☃", "𝄞𐍈", "\\N", "{}[],", "\x01\x1f\x7f", " ")
    return "".join(dice.choice(dice.choice(kinds)) for _ in range(dice.randrange(12)))


def instant(dice: random.Random) -> str:
    return (
        f"{dice.randint(1, 9999):04}-{dice.randint(1, 12):02}-{dice.randint(1, 28):02} "
        f"{dice.randint(0, 23):02}:{dice.randint(0, 59):02}:{dice.randint(0, 59):02}.{dice.randrange(1000000):06}"
    )


def real(dice: random.Random) -> float:
    kind = dice.randrange(8)
    if kind == 0:
        return dice.choice([float("nan"), float("inf"), float("-inf"), -0.0, 5e-324, 1.7976931348623157e308])
    return float(struct.unpack("<d", dice.randbytes(8))[0]) if kind < 4 else dice.uniform(-1e6, 1e6)


def short_real(dice: random.Random) -> float:
    return float(struct.unpack("<f", dice.randbytes(4))[0])


def digits(dice: random.Random, whole: int, fraction: int) -> str:
    sign, before = dice.choice(["", "-"]), dice.randrange(10 ** dice.randint(1, whole))
    return f"{sign}{before}.{dice.randrange(10**fraction):0{fraction}}"


def row(dice: random.Random, number: int) -> tuple[Any, ...]:
    def some(make: Any) -> Any:
        return maybe(dice, [maybe(dice, make()) for _ in range(dice.randrange(4))])

    return (
        number,
        maybe(dice, dice.randint(-(2**63), 2**63 - 1)),
        maybe(dice, real(dice)),
        maybe(dice, short_real(dice)),
        maybe(dice, digits(dice, 20, 10)),
        maybe(dice, digits(dice, 38, dice.randint(1, 38))),
        maybe(dice, text(dice)),
        maybe(dice, dice.randbytes(dice.randrange(20))),
        maybe(dice, instant(dice) + "+00"),
        maybe(dice, instant(dice)),
        maybe(dice, instant(dice)[:10]),
        maybe(dice, dice.random() < 0.5),
        maybe(dice, dice.randbytes(16).hex()),
        some(lambda: dice.randint(-(2**31), 2**31 - 1)),
        some(lambda: text(dice)),
        some(lambda: digits(dice, 8, 4)),
        some(lambda: instant(dice) + "+00"),
        some(lambda: instant(dice)[:10]),
        some(lambda: real(dice)),
        some(lambda: dice.randbytes(5)),
    )


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
    dice = random.Random(count)
    rows = [row(dice, number) for number in range(count)]
    connection = psycopg2.connect(shop.admin_dsn)
    with connection, connection.cursor() as cursor:
        cursor.execute(TABLE)
        casts = "(%s,%s,%s,%s,%s,%s,%s,%s,%s,%s,%s,%s,%s::uuid,%s::int[],%s::text[],%s::numeric[],%s::timestamptz[],%s::date[],%s::float8[],%s::bytea[])"
        execute_values(cursor, "INSERT INTO random_rows VALUES %s", rows, template=casts, page_size=200)
        cursor.execute(SOURCE)
        expected = [comparable(found) for found in cursor.fetchall()]
    connection.close()
    shop.tables("public.random_rows")
    shop.load()
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
    shop.load()
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
