"""Maps a Postgres column to a ClickHouse column: its type, its form on the wire, and the values that cannot be mapped.

docs/types.md describes this module.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from elt.mapping import WIDEST_DECIMAL, ColumnMapping, YearRange
from elt.sources.postgres.catalogue import SourceColumn
from elt.sources.postgres.names import quote_postgres
from elt.sources.postgres.options import DECIMAL

UNBOUNDED_NUMERIC = (76, 38)
"""Precision and scale for a numeric without precision; a value that does not fit is an error, never rounded."""

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


@dataclass(frozen=True, kw_only=True)
class PostgresColumn(ColumnMapping):
    """Mapping of one column of Postgres."""

    select: str
    """SQL expression in the SELECT inside COPY."""
    refused: str | None = None
    """SQL predicate of rows whose value cannot be mapped; None if every value can."""
    because: str = ""
    """The fault of such a value, as the end of a sentence."""

    @property
    def facts(self) -> list[str]:
        return [self.name, self.clickhouse, self.select]


def map_column(column: SourceColumn, years: YearRange, override: str | None = None) -> PostgresColumn:
    """Returns the mapping of `column` to a server that stores `years`. `override` is the type in pipeline.yml.

    Raises ValueError if the column cannot have that type.
    """
    if override == "String":
        return _as_text(column)
    if override is not None:
        if column.base != "numeric" or column.dimensions:
            raise ValueError(f"{column.name} is {column.declared}; only numeric columns can be given {override}")
        match = DECIMAL.fullmatch(override)
        if match is None:
            raise ValueError(f"{column.name} cannot be given the type {override}; write String or Decimal(P, S)")
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
        # COPY's text can carry hex; the server decodes it to bytes.
        sent = f"encode({quoted}, 'hex')"
        return PostgresColumn(
            column.name, column.declared, _nullable(column, "String"), select=sent, convert="unhex({wire})"
        )
    if column.base == "enum":
        inner = "String" if column.not_null else "Nullable(String)"
        return PostgresColumn(column.name, column.declared, f"LowCardinality({inner})", select=quoted)
    if column.base in _SIMPLE:
        return PostgresColumn(column.name, column.declared, _nullable(column, _SIMPLE[column.base]), select=quoted)
    return _as_text(column)


def with_replacement(mapping: PostgresColumn, column: SourceColumn, value: str | None) -> PostgresColumn:
    """Returns the mapping with `value` instead of every value that its type cannot hold; None is NULL.

    Raises ValueError if the type holds every value, or if it cannot hold NULL.
    """
    if mapping.refused is None or column.dimensions:
        raise ValueError(f"{column.name} is {column.declared}, of which no single value is ever refused")
    if value is None and column.not_null:
        raise ValueError(f"{column.name} is NOT NULL, so that NULL can replace nothing in it")
    literal = "NULL"
    if value is not None:
        literal = "'" + value.replace("'", "''") + f"'::{column.base}"
        literal = f"({literal} AT TIME ZONE 'UTC')::text" if column.base == "timestamptz" else f"{literal}::text"
    select = f"CASE WHEN {mapping.refused} THEN {literal} ELSE ({mapping.select})::text END"
    return replace(mapping, select=select, refused=None)


MASK_SETTING = "elt.mask_salt"
"""Setting that holds the salt in the session. It reaches Postgres as a connection option, and never appears in a query."""


def masked(column: SourceColumn) -> PostgresColumn:
    """Returns a mapping to the SHA-256, in hex, of the salt followed by the value's text: equal values stay equal, NULL stays NULL."""
    salted = f"current_setting('{MASK_SETTING}') || {quote_postgres(column.name)}::text"
    select = f"encode(sha256(convert_to({salted}, 'UTF8')), 'hex')"
    return PostgresColumn(column.name, column.declared, _nullable(column, "String"), select=select)


def _nullable(column: SourceColumn, inner: str) -> str:
    return inner if column.not_null else f"Nullable({inner})"


def _as_text(column: SourceColumn) -> PostgresColumn:
    # Every type without a counterpart is copied as the text that Postgres prints.
    quoted = quote_postgres(column.name)
    return PostgresColumn(
        column.name, column.declared, _nullable(column, "String"), select=f"{quoted}::text", as_text=True
    )


def _precision(typmod: int) -> tuple[int, int]:
    """Returns precision and scale for Decimal from Postgres' typmod (numeric.c, make_numeric_typmod)."""
    if typmod < 4:
        return UNBOUNDED_NUMERIC
    packed = typmod - 4
    precision = packed >> 16
    scale = ((packed & 0x7FF) ^ 1024) - 1024
    if scale < 0:
        precision, scale = precision - scale, 0
    precision = max(precision, scale)
    if precision > WIDEST_DECIMAL:
        # The declared precision exceeds every Decimal's; the values may still fit, and are checked.
        scale = min(scale, UNBOUNDED_NUMERIC[1])
        precision = WIDEST_DECIMAL
    return precision, scale


def _decimal(column: SourceColumn, precision: int, scale: int) -> PostgresColumn:
    quoted = quote_postgres(column.name)
    kind = f"Decimal({precision}, {scale})"
    because = f"which {kind} does not hold exactly"
    if _declared_within(column.typmod, precision, scale):
        # Postgres enforces the precision for all values except NaN, which the server refuses to read.
        refused, select = f"{quoted} = 'NaN'", quoted
    else:
        # ClickHouse drops excess fractional digits silently, so the source checks.
        refused = (
            f"(coalesce(min_scale({quoted}) > {scale}, {quoted} IS NOT NULL)"
            f" OR abs({quoted}) >= 1e{precision - scale}::numeric)"
        )
        select = _loud(quoted, refused, quoted)
    return PostgresColumn(
        column.name, column.declared, _nullable(column, kind), select=select, refused=refused, because=because
    )


def _declared_within(typmod: int, precision: int, scale: int) -> bool:
    if typmod < 4:
        return False
    packed = typmod - 4
    declared_scale = ((packed & 0x7FF) ^ 1024) - 1024
    return declared_scale <= scale and (packed >> 16) - declared_scale <= precision - scale


def _in_years(column: SourceColumn, kind: str, select: str, years: YearRange) -> PostgresColumn:
    quoted = quote_postgres(column.name)
    refused = f"NOT ({quoted} >= '{years.first:04}-01-01' AND {quoted} < {_first_day_after(years, column.base)})"
    because = f"which {kind} does not hold (years {years.first} to {years.last})"
    if not years.loud:
        select = _loud(quoted, refused, select)
    return PostgresColumn(
        column.name, column.declared, _nullable(column, kind), select=select, refused=refused, because=because
    )


def _first_day_after(years: YearRange, base: str) -> str:
    return f"'{years.last + 1:04}-01-01'::{base}"


def _loud(quoted: str, refused: str, select: str) -> str:
    """Returns `select` with a cast that fails in Postgres when it reaches a refused value."""
    return f"CASE WHEN {refused} THEN CAST(CAST('not mapping: ' || {quoted}::text AS integer) AS text) ELSE ({select})::text END"


def _array(column: SourceColumn, years: YearRange) -> PostgresColumn:
    """Returns the mapping of an array: it is sent as JSON of its elements' texts, and ClickHouse parses each element strictly."""
    quoted = quote_postgres(column.name)
    depth = column.dimensions
    # A cast to text removes the padding of char(n).
    texts = quoted if column.base == "bpchar" else f"{quoted}::text[]"
    inner = _SIMPLE.get(column.base, "String")
    silent = [f"array_ndims({quoted}) <> {depth}"]
    loud = []
    because = f"which is not an array of the declared depth {depth}"
    if column.base == "numeric":
        precision, scale = _precision(column.typmod)
        inner = f"Decimal({precision}, {scale})"
        because += f", or has an element that {inner} does not hold exactly"
        if _declared_within(column.typmod, precision, scale):
            loud.append(_any_element(quoted, "e = 'NaN'"))
        else:
            wide = f"abs(e) >= 1e{precision - scale}::numeric"
            silent.append(_any_element(quoted, f"coalesce(min_scale(e) > {scale}, true) OR {wide}"))
    elif column.base in ("date", "timestamp", "timestamptz"):
        inner = "Date32" if column.base == "date" else "DateTime64(6, 'UTC')"
        because += f", or has an element that {inner} does not hold (years {years.first} to {years.last})"
        outside = f"NOT (e >= '{years.first:04}-01-01' AND e < {_first_day_after(years, column.base)})"
        (loud if years.loud else silent).append(_any_element(quoted, outside))
        if column.base == "timestamptz":
            # This cast uses the session's time zone, which is UTC.
            texts = f"{quoted}::timestamp[]::text[]"
    strings = "Array(" * depth + "Nullable(String)" + ")" * depth
    # ClickHouse has no Nullable(Array): a NULL array arrives as an empty one (docs/types.md). NOT NULL arrays need the expression too,
    # because ClickHouse (26.9) checks a DEFAULT as if every column that it reads were Nullable.
    parsed = f"JSONExtract(ifNull({{wire}}, '[]'), '{strings}')"
    element = "unhex(substring({x}, 3))" if column.base == "bytea" else _strictly(inner)
    kind = "Array(" * depth + f"Nullable({inner})" + ")" * depth
    select = _loud(quoted, " OR ".join(silent), f"to_json({texts})")
    refused = " OR ".join([*silent, *loud])
    return PostgresColumn(
        column.name,
        column.declared,
        kind,
        convert=_each(parsed, depth, element),
        select=select,
        refused=refused,
        because=because,
    )


def _any_element(quoted: str, predicate: str) -> str:
    return f"EXISTS (SELECT FROM unnest({quoted}) AS e WHERE e IS NOT NULL AND ({predicate}))"


_ZERO = {"Date32": "1970-01-01", "UUID": "00000000-0000-0000-0000-000000000000", "Bool": "false"}


def _strictly(kind: str) -> str:
    """Returns an expression over {x} that parses its text as `kind`, or fails.

    A cast to Nullable, or of a Nullable, turns invalid text into NULL, so the expression avoids both.
    """
    if kind == "String":
        return "{x}"
    zero = "1970-01-01 00:00:00" if kind.startswith("DateTime64") else _ZERO.get(kind, "0")
    return f"if(isNull({{x}}), NULL, CAST(ifNull({{x}}, '{zero}') AS {kind}))"


def _each(expression: str, depth: int, element: str) -> str:
    """Returns an expression that applies `element` to every innermost element of an array of `depth`."""
    if depth == 0:
        return element.replace("{x}", expression)
    if element == "{x}":
        return expression
    return f"arrayMap(x{depth} -> {_each(f'x{depth}', depth - 1, element)}, {expression})"
