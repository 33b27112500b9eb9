"""From a Postgres column to a ClickHouse column: its type, how it is sent, and which values cannot be mapping.

docs/types.md is this module in words.
"""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass, replace

from elt.pipeline.names import quote_postgres
from elt.sources.postgres.catalogue import SourceColumn

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
class ColumnMapping:
    """How one column travels."""

    name: str
    """In `raw`: that of the source, but for array columns whose names ClickHouse would take for one Nested column."""
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
    """The fault of such a value, to end a sentence."""
    as_text: bool = False
    """Whether the type has no counterpart, so that its text is what arrives."""
    renamed_from: str | None = None
    """Name at the source, where that is another one."""

    @property
    def source_name(self) -> str:
        return self.renamed_from or self.name


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


def map_column(column: SourceColumn, years: YearRange, override: str | None = None) -> ColumnMapping:
    """How `column` travels to a server that holds `years`. `override` is the type that pipeline.yml gives it.

    Raises ValueError when the column cannot be given that type.
    """
    if override == "String":
        return _as_text(column)
    if override is not None:
        if column.base != "numeric" or column.dimensions:
            raise ValueError(f"{column.name} is {column.declared}; only numeric columns can be given {override}")
        match = _DECIMAL.fullmatch(override)
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
        # Hex is what COPY can send in text; the server makes bytes of it again.
        sent = f"encode({quoted}, 'hex')"
        return ColumnMapping(column.name, column.declared, _nullable(column, "String"), sent, convert="unhex({wire})")
    if column.base == "enum":
        inner = "String" if column.not_null else "Nullable(String)"
        return ColumnMapping(column.name, column.declared, f"LowCardinality({inner})", quoted)
    if column.base in _SIMPLE:
        return ColumnMapping(column.name, column.declared, _nullable(column, _SIMPLE[column.base]), quoted)
    return _as_text(column)


def apart(columns: tuple[ColumnMapping, ...]) -> tuple[ColumnMapping, ...]:
    """The columns, with `_` for the dots in names of arrays that share what stands before the first dot.

    ClickHouse takes `a.x` and `a.y` for parts of one Nested column, whose arrays must all have the same length.
    """

    def prefix(column: ColumnMapping) -> str | None:
        before, dot, _ = column.name.partition(".")
        return before if dot and column.clickhouse.startswith("Array(") else None

    shared = {one for one, count in Counter(map(prefix, columns)).items() if one is not None and count > 1}
    taken = {column.name for column in columns}
    found = []
    for column in columns:
        if prefix(column) in shared:
            name = base = column.name.replace(".", "_")
            number = 2
            while name in taken:
                name, number = f"{base}_{number}", number + 1
            taken.add(name)
            column = replace(column, name=name, renamed_from=column.name)
        found.append(column)
    return tuple(found)


def with_replacement(mapping: ColumnMapping, column: SourceColumn, value: str | None) -> ColumnMapping:
    """As `carried`, with `value` in place of every value that its type does not hold; None is NULL.

    Raises ValueError when there is nothing to replace, or no room for NULL.
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
"""Where the session has the salt: it reaches Postgres as an option of the connection, and never stands in a query."""


def masked(column: SourceColumn) -> ColumnMapping:
    """The SHA-256, in hex, of the salt followed by the value's text: equal values stay equal, and NULL stays NULL."""
    salted = f"current_setting('{MASK_SETTING}') || {quote_postgres(column.name)}::text"
    select = f"encode(sha256(convert_to({salted}, 'UTF8')), 'hex')"
    return ColumnMapping(column.name, column.declared, _nullable(column, "String"), select)


def _nullable(column: SourceColumn, inner: str) -> str:
    return inner if column.not_null else f"Nullable({inner})"


def _as_text(column: SourceColumn) -> ColumnMapping:
    # The text that Postgres itself prints: the one rule for every type without a counterpart.
    quoted = quote_postgres(column.name)
    return ColumnMapping(column.name, column.declared, _nullable(column, "String"), f"{quoted}::text", as_text=True)


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


def _decimal(column: SourceColumn, precision: int, scale: int) -> ColumnMapping:
    quoted = quote_postgres(column.name)
    kind = f"Decimal({precision}, {scale})"
    because = f"which {kind} does not hold exactly"
    if _declared_within(column.typmod, precision, scale):
        # Postgres keeps every value within the precision, but NaN, which the server refuses to read.
        refused, select = f"{quoted} = 'NaN'", quoted
    else:
        # ClickHouse drops excess fractional digits silently, so the source checks.
        refused = (
            f"(coalesce(min_scale({quoted}) > {scale}, {quoted} IS NOT NULL)"
            f" OR abs({quoted}) >= 1e{precision - scale}::numeric)"
        )
        select = _loud(quoted, refused, quoted)
    return ColumnMapping(
        column.name, column.declared, _nullable(column, kind), select, refused=refused, because=because
    )


def _declared_within(typmod: int, precision: int, scale: int) -> bool:
    if typmod < 4:
        return False
    packed = typmod - 4
    declared_scale = ((packed & 0x7FF) ^ 1024) - 1024
    return declared_scale <= scale and (packed >> 16) - declared_scale <= precision - scale


def _in_years(column: SourceColumn, kind: str, select: str, years: YearRange) -> ColumnMapping:
    quoted = quote_postgres(column.name)
    refused = f"NOT ({quoted} >= '{years.first:04}-01-01' AND {quoted} < {_first_day_after(years, column.base)})"
    because = f"which {kind} does not hold (years {years.first} to {years.last})"
    if not years.loud:
        select = _loud(quoted, refused, select)
    return ColumnMapping(
        column.name, column.declared, _nullable(column, kind), select, refused=refused, because=because
    )


def _first_day_after(years: YearRange, base: str) -> str:
    return f"'{years.last + 1:04}-01-01'::{base}"


def _loud(quoted: str, refused: str, select: str) -> str:
    """`select`, but an error of Postgres on a refused value: its cast can only fail, and only when it is reached."""
    return f"CASE WHEN {refused} THEN CAST(CAST('not mapping: ' || {quoted}::text AS integer) AS text) ELSE ({select})::text END"


def _array(column: SourceColumn, years: YearRange) -> ColumnMapping:
    """Arrays travel as JSON of their elements' texts, and each element is read strictly on the other side."""
    quoted = quote_postgres(column.name)
    depth = column.dimensions
    # A cast to text takes the blanks off that char(n) is padded with.
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
            # The session's zone is UTC, which is what this cast goes by.
            texts = f"{quoted}::timestamp[]::text[]"
    strings = "Array(" * depth + "Nullable(String)" + ")" * depth
    # ClickHouse has no Nullable(Array): a NULL array arrives as an empty one (docs/types.md). NOT NULL arrays are told so too, because
    # ClickHouse (26.9) checks a DEFAULT as if every column that it reads were Nullable.
    parsed = f"JSONExtract(ifNull({{wire}}, '[]'), '{strings}')"
    element = "unhex(substring({x}, 3))" if column.base == "bytea" else _strictly(inner)
    kind = "Array(" * depth + f"Nullable({inner})" + ")" * depth
    select = _loud(quoted, " OR ".join(silent), f"to_json({texts})")
    refused = " OR ".join([*silent, *loud])
    return ColumnMapping(column.name, column.declared, kind, select, _each(parsed, depth, element), refused, because)


def _any_element(quoted: str, predicate: str) -> str:
    return f"EXISTS (SELECT FROM unnest({quoted}) AS e WHERE e IS NOT NULL AND ({predicate}))"


_ZERO = {"Date32": "1970-01-01", "UUID": "00000000-0000-0000-0000-000000000000", "Bool": "false"}


def _strictly(kind: str) -> str:
    """An expression over {x} that reads its text as `kind`, or fails.

    A cast to Nullable, and of a Nullable, makes NULL of what it cannot read; so neither may be cast as such.
    """
    if kind == "String":
        return "{x}"
    zero = "1970-01-01 00:00:00" if kind.startswith("DateTime64") else _ZERO.get(kind, "0")
    return f"if(isNull({{x}}), NULL, CAST(ifNull({{x}}, '{zero}') AS {kind}))"


def _each(expression: str, depth: int, element: str) -> str:
    """`element` applied to every innermost element of an array of `depth`."""
    if depth == 0:
        return element.replace("{x}", expression)
    if element == "{x}":
        return expression
    return f"arrayMap(x{depth} -> {_each(f'x{depth}', depth - 1, element)}, {expression})"
