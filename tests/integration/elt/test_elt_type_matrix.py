"""Every type of docs/types.md, NULL and NOT NULL, alone and in arrays and nested arrays, overridden, masked and replaced: one load, each value compared."""

import hashlib
from dataclasses import dataclass
from typing import Any

import pytest


@dataclass(frozen=True)
class Type:
    """A type of Postgres, literals of it, what it becomes, and the values as ClickHouse prints them."""

    name: str
    literals: tuple[str, ...]
    clickhouse: str
    values: tuple[str, ...]
    element: str = ""
    """Its type within arrays, where that is another one."""
    refused: str = ""
    """A literal that the type of ClickHouse does not hold."""


U = "a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11"
STAMP, STAMP_OUT = "'2024-02-29 23:59:59.999999'", "2024-02-29 23:59:59.999999"
TYPES = (
    Type("smallint", ("-32768", "32767"), "Int16", ("-32768", "32767")),
    Type("integer", ("-2147483648", "0"), "Int32", ("-2147483648", "0")),
    Type("bigint", ("-9223372036854775808", "7"), "Int64", ("-9223372036854775808", "7")),
    Type("oid", ("4294967295", "0"), "UInt32", ("4294967295", "0")),
    Type("real", ("1.1754944e-38", "'NaN'", "'-Infinity'"), "Float32", ("1.1754944e-38", "nan", "-inf")),
    Type("double precision", ("0.30000000000000004", "5e-324"), "Float64", ("0.30000000000000004", "5e-324")),
    Type("numeric(12, 2)", ("-1234567890.12", "0.10"), "Decimal(12, 2)", ("-1234567890.12", "0.1"), refused="'NaN'"),
    Type("numeric(5, -3)", ("99000", "-1000"), "Decimal(8, 0)", ("99000", "-1000"), refused="'NaN'"),
    Type("numeric(3, 5)", ("0.00123", "0"), "Decimal(5, 5)", ("0.00123", "0"), refused="'NaN'"),
    Type("numeric", ("12345678901234567890.5", "-0.00000000000000000000000000000000000001"), "Decimal(76, 38)",
         ("12345678901234567890.5", "-0.00000000000000000000000000000000000001"), refused="1e-39"),
    Type("numeric(90, 10)", ("99.0000000001", "1"), "Decimal(76, 10)", ("99.0000000001", "1"), refused="1e70"),
    Type("boolean", ("true", "false"), "Bool", ("true", "false")),
    Type("uuid", (f"'{U}'",), "UUID", (U,)),
    Type("text", ("E'tab\\there \\\\N \\n ☃'", "''", "'NULL'"), "String", ("tab\there \\N \n ☃", "", "NULL")),
    Type("varchar(30)", ("' x '", "'{\"a,b\"}'"), "String", (" x ", '{"a,b"}')),
    Type("char(5)", ("'ab'",), "String", ("ab   ",)),
    Type("mood", ("'it''s ok'", "'täglich'"), "LowCardinality(String)", ("it's ok", "täglich"), element="String"),
    Type("json", ("'{\"a\": [1, null]}'", "'null'"), "String", ('{"a": [1, null]}', "null")),
    Type("jsonb", ("'{\"b\":\"\\\\n\"}'",), "String", ('{"b": "\\\\n"}',)),
    Type("bytea", ("'\\x00ff0a095c'", "'\\x'"), "String", ("00FF0A095C", "")),
    Type("date", ("'0001-01-01'", "'9999-12-31'"), "Date32", ("0001-01-01", "9999-12-31"), refused="'infinity'"),
    Type("timestamp", (STAMP,), "DateTime64(6, 'UTC')", (STAMP_OUT,), refused="'infinity'"),
    Type("timestamptz", ("'2024-03-31 02:30:00.000001+02'",), "DateTime64(6, 'UTC')", ("2024-03-31 00:30:00.000001",), refused="'-infinity'"),
    Type("time", ("'23:59:59.123456'",), "String", ("23:59:59.123456",)),
    Type("timetz", ("'23:59:59+02'",), "String", ("23:59:59+02",)),
    Type("interval", ("'1 day 02:03:04.5'",), "String", ("P1DT2H3M4.5S",)),
    Type("inet", ("'10.0.0.1/8'",), "String", ("10.0.0.1/8",)),
    Type("cidr", ("'10.0.0.0/8'",), "String", ("10.0.0.0/8",)),
    Type("macaddr", ("'08:00:2b:01:02:03'",), "String", ("08:00:2b:01:02:03",)),
    Type("money", ("'-12.30'",), "String", ("-$12.30",)),
    Type("bit(3)", ("B'101'",), "String", ("101",)),
    Type("int4range", ("'[1,5)'",), "String", ("[1,5)",)),
    Type("pair", ("'(1,\"x y\")'",), "String", ('(1,"x y")',)),
    Type("tsvector", ("'a b'::tsvector",), "String", ("'a' 'b'",)),
    Type("point", ("'(1,2)'",), "String", ("(1,2)",)),
    Type("count_of", ("3", "4"), "Int32", ("3", "4")),
    Type("amount", ("-12.30", "0"), "Decimal(12, 2)", ("-12.3", "0"), refused="'NaN'"),
    Type("moment", ("'2024-03-31 02:30:00+02'",), "DateTime64(6, 'UTC')", ("2024-03-31 00:30:00.000000",), refused="'infinity'"),
    Type("words", ("'ab'",), "String", ("ab",)),
)  # fmt: skip
DEFINED = (
    "CREATE TYPE mood AS ENUM ('sad', 'it''s ok', 'täglich')",
    "CREATE TYPE pair AS (a int, b text)",
    "CREATE DOMAIN count_of AS int CHECK (VALUE > 0)",
    "CREATE DOMAIN inner_amount AS numeric(12, 2)",
    "CREATE DOMAIN amount AS inner_amount CHECK (VALUE > -1000)",
    "CREATE DOMAIN moment AS timestamptz",
    "CREATE DOMAIN words AS text",
)
PRINTED = (
    "SET timezone = 'UTC'; SET intervalstyle = 'iso_8601'; SET bytea_output = 'hex'; SET extra_float_digits = 3;"
    " SET lc_monetary = 'C'"
)


def columns(number: int, one: Type) -> list[tuple[str, str, list[str], str, list[Any]]]:
    """For one type: name and type of each column, its literals by row, its type in ClickHouse, its values by row.

    A row for each literal, and a last one with NULL wherever that may be.
    """
    literals, first = list(one.literals), one.literals[0]
    values: list[Any] = list(one.values)
    count = max(len(other.literals) for other in TYPES)
    literals += [first] * (count - len(literals))
    values += [one.values[0]] * (count - len(values))
    element = one.element or one.clickhouse
    nullable = one.clickhouse.replace("LowCardinality(String)", "LowCardinality(Nullable(String))")
    nullable = nullable if "Nullable" in nullable else f"Nullable({nullable})"
    array = [f"ARRAY[{literal}, NULL, {literal}]::{one.name}[]" for literal in literals]
    nested = [f"ARRAY[ARRAY[{literal}], ARRAY[NULL]]::{one.name}[][]" for literal in literals]
    arrays: list[Any] = [[value, None, value] for value in values]
    nests: list[Any] = [[[value], [None]] for value in values]
    deep = f"Array(Array(Nullable({element})))"
    return [
        (f"s{number}", one.name, [*literals, "NULL"], nullable, [*values, None]),
        (f"n{number}", f"{one.name} NOT NULL", [*literals, first], one.clickhouse, [*values, values[0]]),
        (f"a{number}", f"{one.name}[]", [*array, "NULL"], f"Array(Nullable({element}))", [*arrays, []]),
        (f"b{number}", f"{one.name}[] NOT NULL", [*array, "'{}'"], f"Array(Nullable({element}))", [*arrays, []]),
        (f"c{number}", f"{one.name}[][]", [*nested, "NULL"], deep, [*nests, []]),
        (f"d{number}", f"{one.name}[][] NOT NULL", [*nested, nested[0]], deep, [*nests, nests[0]]),
    ]


def shown(expression: str, depth: int, kind: str) -> str:
    """An expression of ClickHouse that prints each value of a column."""
    if depth:
        return f"arrayMap(x{depth} -> {shown(f'x{depth}', depth - 1, kind)}, {expression})"
    return f"hex({expression})" if kind == "bytea" else f"toString({expression})"


@pytest.mark.parametrize("mode", ["full", "incremental"])
def test_every_type_alone_and_in_arrays_arrives_as_it_was(shop: Any, mode: str) -> None:
    made = [(one, column) for number, one in enumerate(TYPES) for column in columns(number, one)]
    rows = len(made[0][1][2])
    names = ", ".join(f"{name} {kind}" for _, (name, kind, *_) in made)
    shop.sql(
        *DEFINED,
        f"CREATE TABLE matrix (id int PRIMARY KEY, changed timestamptz NOT NULL DEFAULT now(), {names})",
        *(
            f"INSERT INTO matrix VALUES ({row}, now(), {', '.join(column[2][row] for _, column in made)})"
            for row in range(rows - 1)
        ),
    )
    entry = "name: public.matrix" + (", mode: incremental, cursor: changed" if mode == "incremental" else "")
    shop.tables(entry)
    shop.load()
    # The last row comes by the second load, which is incremental where that is the mode.
    shop.sql(f"INSERT INTO matrix VALUES ({rows - 1}, now(), {', '.join(column[2][-1] for _, column in made)})")
    done = shop.load(verify=True)
    assert done.loads[0].mode == mode
    assert done.loads[0].verified_columns == ("id", "changed", *(name for _, (name, *_) in made))
    assert done.loads[0].not_verified == ()
    types = dict(shop.warehouse("SELECT name, type FROM system.columns WHERE database = 'raw' AND table = 'matrix'"))
    assert {name: types[name] for _, (name, *_) in made} == {column[0]: column[3] for _, column in made}
    asked = ", ".join(shown(name, kind.count("[]"), one.name) for one, (name, kind, *_) in made)
    final = " FINAL" if mode == "incremental" else ""
    got = shop.warehouse(f"SELECT {asked} FROM raw.matrix{final} ORDER BY id")
    assert len(got) == rows
    wrong = [
        (column[1], row, value, column[4][row])
        for row, values in enumerate(got)
        for (_, column), value in zip(made, values, strict=True)
        if value != column[4][row]
    ]
    assert wrong == []


def test_every_type_overridden_masked_and_replaced(shop: Any) -> None:
    kept = [(number, one) for number, one in enumerate(TYPES)]
    refusable = [(number, one) for number, one in kept if one.refused]
    names = [f"t{number} {one.name}, m{number} {one.name}, u{number} {one.name}[]" for number, one in kept]
    names += [f"r{number} {one.name}, q{number} {one.name} NOT NULL" for number, one in refusable]
    values = [f"{one.literals[0]}, {one.literals[0]}, ARRAY[{one.literals[0]}]::{one.name}[]" for _, one in kept]
    values += [f"{one.refused}, {one.refused}" for _, one in refusable]
    shop.sql(
        *DEFINED,
        f"CREATE TABLE given (id int PRIMARY KEY, {', '.join(names)})",
        f"INSERT INTO given VALUES (1, {', '.join(values)})",
        f"INSERT INTO given (id, {', '.join(f'q{number}' for number, _ in refusable)})"
        f" VALUES (2, {', '.join(one.literals[0] for _, one in refusable)})",
    )
    types = ", ".join(f"t{number}: String, u{number}: String" for number, _ in kept)
    masks = ", ".join(f"m{number}" for number, _ in kept)
    replaced = (
        ", ".join(f"r{number}: null, q{number}: {one.literals[0]!r}" for number, one in refusable)
        .replace("\"'", '"')
        .replace("'\"", '"')
    )
    shop.tables(f"name: public.given, types: {{{types}}}, mask: [{masks}], replace: {{{replaced}}}")
    assert shop.load(verify=True).loads[0].not_verified == ()
    texts = ", ".join(f"t{number}::text, m{number}::text, u{number}::text" for number, _ in kept)
    first, second = shop.sql(PRINTED, f"SELECT {texts} FROM given ORDER BY id")
    expected = [
        hashlib.sha256(b"salt" + text.encode()).hexdigest() if place % 3 == 1 else text
        for place, text in enumerate(first)
    ]
    asked = ", ".join(f"t{number}, m{number}, u{number}" for number, _ in kept)
    got = shop.warehouse(f"SELECT {asked} FROM raw.given ORDER BY id")
    assert list(got[0]) == expected
    assert set(got[1]) == {None} == set(second)
    asked = ", ".join(f"r{number}, toString(q{number})" for number, _ in refusable)
    by_id = shop.warehouse(f"SELECT {asked} FROM raw.given ORDER BY id")
    assert list(by_id[0]) == [value for _, one in refusable for value in (None, one.values[0])]
    assert list(by_id[1]) == [value for _, one in refusable for value in (None, one.values[0])]
