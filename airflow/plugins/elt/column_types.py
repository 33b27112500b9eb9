"""From a Postgres column to a ClickHouse column: its type, how it is sent, and which values cannot be carried.

docs/types.md is this module in words.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from elt.catalogue import SourceColumn
from elt.names import quote_postgres

UNBOUNDED_NUMERIC = (76, 38)
"""Precision and scale of a numeric without precision; a value that does not fit is an error, never rounded."""
_WIDEST_DECIMAL = 76

_DECIMAL = re.compile(r"Decimal\((\d{1,2}), ?(\d{1,2})\)")

_SIMPLE = {
    "int2": "Int16",
    "int4": "Int32",
    "int8": "Int64",
    "oid": "UInt32",
    "float4": "Float32",
    "float8": "Float64",
    "bool": "Bool",
    "uuid": "UUID",
    "text": "String",
    "varchar": "String",
    "bpchar": "String",
    "json": "String",
    "jsonb": "String",
}


@dataclass(frozen=True)
class YearRange:
    """Years that this server's Date32 and DateTime64 hold and read back."""

    first: int
    last: int
    loud: bool
    """Whether the server refuses a year outside, instead of moving it to the nearest one inside."""


WIDE = YearRange(1, 9999, loud=True)
NARROW = YearRange(1900, 2299, loud=False)


@dataclass(frozen=True)
class Carried:
    """How one column travels."""

    name: str
    declared: str
    clickhouse: str
    """Type in ClickHouse, Nullable included."""
    select: str
    """SQL in the SELECT inside COPY."""
    convert: str | None = None
    """ClickHouse expression over the sent text, with {wire} for its name; None where the text is read as it is."""
    refused: str | None = None
    """SQL predicate of the rows whose value cannot be carried; None where every value can."""
    because: str = ""
    """What is wrong with such a value, to end a sentence."""


def override_problem(text: str) -> str | None:
    """Why `text` cannot stand under `types:`, or None."""
    if text == "String":
        return None
    match = _DECIMAL.fullmatch(text)
    if match and 1 <= int(match[1]) <= _WIDEST_DECIMAL and int(match[2]) <= int(match[1]):
        return None
    return (
        f"{text!r} is no type that a column can be given; use String, or Decimal(p, s) with p up to {_WIDEST_DECIMAL}"
    )


def carry(column: SourceColumn, years: YearRange, override: str | None = None) -> Carried:
    """How `column` travels to a server that holds `years`. `override` is the type that pipeline.yml gives it.

    Raises ValueError when the column cannot be given that type.
    """
    if override == "String":
        return _as_text(column)
    if override is not None:
        if column.base != "numeric" or column.dimensions:
            raise ValueError(f"{column.name} is {column.declared}; only numeric columns can be given {override}")
        match = _DECIMAL.fullmatch(override)
        assert match is not None, "checked when pipeline.yml was read"
        return _decimal(column, int(match[1]), int(match[2]))
    if column.dimensions:
        return _array(column, years)
    quoted = quote_postgres(column.name)
    if column.base == "numeric":
        return _decimal(column, *_precision(column.typmod))
    if column.base == "date":
        return _in_years(column, "Date32", quoted, years)
    if column.base in ("timestamp", "timestamptz"):
        select = f"{quoted} AT TIME ZONE 'UTC'" if column.base == "timestamptz" else quoted
        return _in_years(column, "DateTime64(6, 'UTC')", select, years)
    if column.base == "bytea":
        # Hex is what COPY can send in text; the server makes bytes of it again.
        sent = f"encode({quoted}, 'hex')"
        return Carried(column.name, column.declared, _nullable(column, "String"), sent, convert="unhex({wire})")
    if column.base == "enum":
        inner = "String" if column.not_null else "Nullable(String)"
        return Carried(column.name, column.declared, f"LowCardinality({inner})", quoted)
    if column.base in _SIMPLE:
        return Carried(column.name, column.declared, _nullable(column, _SIMPLE[column.base]), quoted)
    return _as_text(column)


def _nullable(column: SourceColumn, inner: str) -> str:
    return inner if column.not_null else f"Nullable({inner})"


def _as_text(column: SourceColumn) -> Carried:
    # The text that Postgres itself prints: the one rule for every type without a counterpart.
    quoted = quote_postgres(column.name)
    return Carried(column.name, column.declared, _nullable(column, "String"), f"{quoted}::text")


def _precision(typmod: int) -> tuple[int, int]:
    """Precision and scale for Decimal from Postgres' typmod (numeric.c, make_numeric_typmod)."""
    if typmod < 4:
        return UNBOUNDED_NUMERIC
    packed = typmod - 4
    precision = packed >> 16
    scale = ((packed & 0x7FF) ^ 1024) - 1024
    if scale < 0:
        precision, scale = precision - scale, 0
    precision = max(precision, scale)
    if precision > _WIDEST_DECIMAL:
        # More digits are declared than any Decimal has; the values may still be short, and are checked.
        scale = min(scale, UNBOUNDED_NUMERIC[1])
        precision = _WIDEST_DECIMAL
    return precision, scale


def _decimal(column: SourceColumn, precision: int, scale: int) -> Carried:
    quoted = quote_postgres(column.name)
    kind = f"Decimal({precision}, {scale})"
    because = f"which {kind} does not hold exactly"
    if _declared_within(column.typmod, precision, scale):
        # Postgres keeps every value within the precision, but NaN, which the server refuses to read.
        refused, select = f"{quoted} = 'NaN'", quoted
    else:
        # ClickHouse drops excess fractional digits without a word, so that the source has to look.
        refused = (
            f"(coalesce(min_scale({quoted}) > {scale}, {quoted} IS NOT NULL)"
            f" OR abs({quoted}) >= 1e{precision - scale}::numeric)"
        )
        select = _loud(quoted, refused, quoted)
    return Carried(column.name, column.declared, _nullable(column, kind), select, refused=refused, because=because)


def _declared_within(typmod: int, precision: int, scale: int) -> bool:
    if typmod < 4:
        return False
    packed = typmod - 4
    declared_scale = ((packed & 0x7FF) ^ 1024) - 1024
    return declared_scale <= scale and (packed >> 16) - declared_scale <= precision - scale


def _in_years(column: SourceColumn, kind: str, select: str, years: YearRange) -> Carried:
    quoted = quote_postgres(column.name)
    refused = f"NOT ({quoted} >= '{years.first:04}-01-01' AND {quoted} < {_first_day_after(years, column.base)})"
    because = f"which {kind} does not hold (years {years.first} to {years.last})"
    if not years.loud:
        select = _loud(quoted, refused, select)
    return Carried(column.name, column.declared, _nullable(column, kind), select, refused=refused, because=because)


def _first_day_after(years: YearRange, base: str) -> str:
    return f"'{years.last + 1:04}-01-01'::{base}"


def _loud(quoted: str, refused: str, select: str) -> str:
    """`select`, but an error of Postgres on a refused value: its cast can only fail, and only when it is reached."""
    return f"CASE WHEN {refused} THEN CAST(CAST('not carried: ' || {quoted}::text AS integer) AS text) ELSE ({select})::text END"


def _array(column: SourceColumn, years: YearRange) -> Carried:
    """Arrays travel as JSON of their elements' texts, and each element is read strictly on the other side."""
    quoted = quote_postgres(column.name)
    depth = column.dimensions
    texts = f"{quoted}::text[]"
    refused = f"array_ndims({quoted}) <> {depth}"
    because = f"an array of another depth than the declared {depth}"
    inner = "String"
    if column.base == "numeric":
        precision, scale = _precision(column.typmod)
        inner = f"Decimal({precision}, {scale})"
        if not _declared_within(column.typmod, precision, scale):
            refused += _any_element(
                quoted, f"coalesce(min_scale(e) > {scale}, true) OR abs(e) >= 1e{precision - scale}::numeric"
            )
            because = f"an element of which Array({inner}) does not hold exactly"
    elif column.base in ("date", "timestamp", "timestamptz"):
        inner = "Date32" if column.base == "date" else "DateTime64(6, 'UTC')"
        refused += _any_element(
            quoted, f"NOT (e >= '{years.first:04}-01-01' AND e < {_first_day_after(years, column.base)})"
        )
        because = f"an element of which {inner} does not hold (years {years.first} to {years.last})"
        if column.base == "timestamptz":
            # The session's zone is UTC, which is what this cast goes by.
            texts = f"{quoted}::timestamp[]::text[]"
    else:
        inner = _SIMPLE.get(column.base, "String")
    element = f"Nullable({inner})"
    strings = "Array(" * depth + "Nullable(String)" + ")" * depth
    parsed = f"JSONExtract({{wire}}, '{strings}')"
    if not column.not_null:
        # ClickHouse has no Nullable(Array): a NULL array arrives as an empty one (docs/types.md).
        parsed = f"JSONExtract(ifNull({{wire}}, '[]'), '{strings}')"
    if column.base == "bytea":
        parsed = _unhex(parsed, depth)
    kind = "Array(" * depth + element + ")" * depth
    convert = parsed if inner == "String" else f"CAST({parsed} AS {kind})"
    select = _loud(quoted, refused, f"to_json({texts})")
    return Carried(column.name, column.declared, kind, select, convert, refused, because)


def _any_element(quoted: str, predicate: str) -> str:
    return f" OR EXISTS (SELECT FROM unnest({quoted}) AS e WHERE e IS NOT NULL AND ({predicate}))"


def _unhex(expression: str, depth: int) -> str:
    if depth == 0:
        return f"unhex(substring({expression}, 3))"
    variable = f"x{depth}"
    return f"arrayMap({variable} -> {_unhex(variable, depth - 1)}, {expression})"
