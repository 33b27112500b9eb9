"""Canonical numbers: Postgres and ClickHouse compute the same 64-bit number from a value and its copy. Verification compares these.

A value that fits into 64 bits is that number: integers, booleans, days, microseconds, decimals without their point, the bits of floats. The number
of any other value is the first half of the MD5 of a text that both sides print alike. NULL stays NULL.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from warehouse.quoting import quote

from elt.sources.base import Number
from elt.sources.checksums import NUMBER_OF_TEXT
from elt.sources.postgres.catalogue import SourceColumn
from elt.sources.postgres.columns import PostgresColumn
from elt.sources.postgres.names import quote_postgres

_DECIMAL = re.compile(r"Decimal\((\d+), (\d+)\)")
_DIGITS_OF_INT64 = 18
_NAN = -1
"""Number of every NaN, of which there are many bit patterns. It is itself a NaN's pattern, so no other float has it."""
_MD5_HALF = "('x' || substr(md5({}), 1, 16))::bit(64)::bigint", NUMBER_OF_TEXT


@dataclass(frozen=True, kw_only=True)
class Canonical(Number):
    """SQL expressions for a column's canonical number."""

    postgres: str


def canonical(column: PostgresColumn, source: SourceColumn, *, as_sent: bool, in_key: bool) -> Canonical:
    """Returns the pair of expressions for one column.

    With `as_sent` (masked and replaced columns) Postgres starts from the expression that it sends. For a float `in_key`, -0 equals 0, as in Postgres'
    indexes and in FINAL.
    """
    name, kind, inner = quote(column.name), column.clickhouse, _inner(column.clickhouse)
    if depth := kind.count("Array("):
        postgres, clickhouse = _array(quote_postgres(column.source_name), name, depth, inner, source)
        return Canonical(column.name, clickhouse, nullable=False, postgres=postgres)
    nullable = "Nullable(" in kind
    if kind.startswith("LowCardinality("):
        # A function of a LowCardinality value returns LowCardinality too.
        name = f"CAST({name}, '{kind.removeprefix('LowCardinality(')[:-1]}')"
    value, base = quote_postgres(column.source_name), source.base
    if as_sent or (inner == "String" and base not in ("bytea", "bpchar", "enum")) or column.as_text:
        value, base = _typed(column.select, inner), ""
    if in_key and inner in ("Float32", "Float64"):
        value, name = f"({value} + '0')", f"({name} + to{inner}(0))"
    postgres, clickhouse = _scalar(value, name, inner, base)
    return Canonical(column.name, clickhouse, nullable=nullable, postgres=postgres)


def _inner(kind: str) -> str:
    """Returns ClickHouse's type inside Array, LowCardinality and Nullable."""
    for wrapper in ("Array(", "LowCardinality(", "Nullable("):
        while kind.startswith(wrapper):
            kind = kind[len(wrapper) : -1]
    return kind


def _typed(select: str, inner: str) -> str:
    kind = {"Date32": "date", "DateTime64(6, 'UTC')": "timestamp"}.get(inner)
    kind = kind or ("numeric" if inner.startswith("Decimal") else "text")
    return f"({select})::{kind}"


def _scalar(value: str, name: str, inner: str, base: str) -> tuple[str, str]:
    """Returns expressions over a Postgres value of base type `base`, and over a ClickHouse value of type `inner`."""
    if inner in ("Int16", "Int32", "Int64", "UInt32"):
        return f"{value}::bigint", f"toInt64({name})"
    if inner == "Bool":
        return f"{value}::int::bigint", f"toInt64({name})"
    if inner == "Date32":
        return f"({value} - date '1970-01-01')::bigint", f"toInt64(toInt32({name}))"
    if inner.startswith("DateTime64"):
        at = f"({value} AT TIME ZONE 'UTC')" if base == "timestamptz" else value
        # Each step is exact; extract(epoch) returns a numeric and costs three times as much.
        micros = f"(date_part('epoch', {at}::time) * 1000000)::bigint"
        return f"({at}::date - date '1970-01-01') * 86400000000 + {micros}", f"toUnixTimestamp64Micro({name})"
    if inner == "Float64":
        bits = f"('x' || encode(float8send({value}), 'hex'))::bit(64)::bigint"
        found = f"CASE WHEN {value} = 'NaN' THEN {_NAN} ELSE {bits} END"
        return found, f"if(isNaN({name}), toInt64({_NAN}), reinterpretAsInt64({name}))"
    if inner == "Float32":
        bits = f"('x' || encode(float4send({value}), 'hex'))::bit(32)::bigint"
        found = f"CASE WHEN {value} = 'NaN' THEN {_NAN} ELSE {bits} END"
        return found, f"if(isNaN({name}), toInt64({_NAN}), toInt64(reinterpretAsUInt32({name})))"
    if match := _DECIMAL.fullmatch(inner):
        precision, scale = int(match[1]), int(match[2])
        if precision <= _DIGITS_OF_INT64:
            stored = "Int32" if precision <= 9 else "Int64"
            return f"({value} * 1e{scale}::numeric)::bigint", f"toInt64(reinterpret({name}, '{stored}'))"
        return _text(f"trim_scale({value})::text", f"toString({name})")
    if base == "bytea":
        return _MD5_HALF[0].format(value), _MD5_HALF[1].format(name)
    # A cast to text removes the padding of char(n).
    printed = f"CASE WHEN {value} IS NOT NULL THEN concat({value}) END" if base == "bpchar" else f"{value}::text"
    return _text(printed, f"toString({name})" if inner == "UUID" else name)


def _text(value: str, name: str) -> tuple[str, str]:
    return _MD5_HALF[0].format(f"convert_to({value}, 'UTF8')"), _MD5_HALF[1].format(name)


def _array(value: str, name: str, depth: int, inner: str, source: SourceColumn) -> tuple[str, str]:
    """Returns expressions for an array: lengths of its dimensions and numbers of its elements, as one text. NULL counts as empty, which is how it arrives."""
    of_element, of_copy = _scalar("e", "x", inner, source.base)
    lengths = " || ',' || ".join(f"array_length({value}, {level})" for level in range(1, depth + 1))
    # unnest expands composite values into columns.
    elements_of = value if inner != "String" or source.base in ("bytea", "bpchar") else f"{value}::text[]"
    elements = (
        f"(SELECT string_agg(coalesce(({of_element})::text, 'N'), ',' ORDER BY n)"
        f" FROM unnest({elements_of}) WITH ORDINALITY AS u (e, n))"
    )
    text = f"CASE WHEN cardinality({value}) > 0 THEN {lengths} || ':' || {elements} ELSE '' END"
    flat = f"arrayFlatten({name})"
    counted = [f"toString(length({name}))"]
    for level in range(1, depth):
        each = f"length(y{level})"
        for inside in range(level, 0, -1):
            each = f"arrayMap(y{inside} -> {each}, {f'y{inside - 1}' if inside > 1 else name})"
        counted.append(f"arrayStringConcat(arrayMap(l -> toString(l), arrayDistinct(arrayFlatten({each}))), '/')")
    numbers = f"arrayStringConcat(arrayMap(x -> ifNull(toString({of_copy}), 'N'), {flat}), ',')"
    copied = f"if(empty({flat}), '', concat({', '.join([*_between(counted), repr(':'), numbers])}))"
    return _text(text, copied)


def _between(parts: list[str]) -> list[str]:
    pieces = [parts[0]]
    for part in parts[1:]:
        pieces += ["','", part]
    return pieces
