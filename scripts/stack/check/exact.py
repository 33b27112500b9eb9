"""`--exact`: raw and marts against Postgres itself, to the last character, for a source that nobody writes to.

Each column of each table is summed up on both sides in a way that does not depend on the order of rows: numbers by their
sum, instants by their microseconds, texts by the sum of a part of their MD5; and everywhere the NULLs are counted. Of a table with `where:`
the rows that meet it are compared; columns whose content pipeline.yml changes, or that have no common form, are named.
"""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import yaml

from stack.check import connections
from stack.check.connections import quoted, rows
from stack.check.probes import published
from stack.errors import StackError
from stack.table.services import Context

# Postgres' type category or name -> (expression in Postgres, expression in ClickHouse), each an exact number or text.
NUMBER = ("sum({c})::text", "toString(sum({c}))")
INSTANT = (
    "sum((extract(epoch from {c}) * 1000000)::numeric(38, 0))::text",
    "toString(sum(toInt256(toUnixTimestamp64Micro({c}))))",
)
DATE = ("sum({c} - date '1970-01-01')::text", "toString(sum(toInt64(toInt32({c}))))")
BOOLEAN = ("count(*) filter (where {c})::text", "toString(countIf({c}))")
TEXT = (
    "sum(('x' || substr(md5({c}::text), 1, 8))::bit(32)::bigint)::text",
    "toString(sum(reinterpretAsUInt32(reverse(substring(MD5(toString({c})), 1, 4)))))",
)
WAYS = {
    **dict.fromkeys(("int2", "int4", "int8", "numeric"), NUMBER),
    **dict.fromkeys(("timestamptz", "timestamp"), INSTANT),
    **dict.fromkeys(("text", "varchar", "uuid"), TEXT),
    "date": DATE,
    "bool": BOOLEAN,
}


def _columns(cursor: Any, source: str) -> list[tuple[str, str]]:
    schema, _, table = source.partition(".")
    cursor.execute(
        "SELECT a.attname, t.typname FROM pg_attribute a JOIN pg_type t ON t.oid = a.atttypid "
        "JOIN pg_class c ON c.oid = a.attrelid JOIN pg_namespace n ON n.oid = c.relnamespace "
        "WHERE n.nspname = %s AND c.relname = %s AND a.attnum > 0 AND NOT a.attisdropped ORDER BY a.attnum",
        (schema, table),
    )
    return list(cursor.fetchall())


def _in_postgres(identifier: str) -> str:
    return '"' + identifier.replace('"', '""') + '"'


def _decimal(text: str | None) -> str:
    """A number as text without trailing zeros: Postgres writes 1.50 where ClickHouse writes 1.5."""
    if text is None or text == "":
        return "0"
    whole, point, rest = text.partition(".")
    return f"{whole}.{rest.rstrip('0')}".rstrip(".") if point else whole


def entries(pipeline: Path) -> dict[str, dict[str, Any]]:
    """What pipeline.yml says of each table that it names."""
    (source,) = yaml.safe_load(pipeline.read_text(encoding="utf-8"))["sources"]
    listed = source.get("options", []) if source["tables"] == "all" else source["tables"]
    return {entry["name"]: entry for entry in listed}


def _way(name: str, kind: str, entry: Mapping[str, Any]) -> tuple[str, str] | str:
    """The two expressions that sum up a column, or why its content cannot be compared."""
    if name in entry.get("mask", ()):
        return "masked"
    if name in entry.get("replace", {}):
        return "with replacements"
    if entry.get("types", {}).get(name) == "String":
        return TEXT if kind in WAYS and WAYS[kind] in (NUMBER, TEXT) else kind
    return WAYS.get(kind, kind)


def compare(
    cursor: Any, client: Any, source: str, target: str, entry: Mapping[str, Any]
) -> tuple[int, list[str], list[str]]:
    """Rows of the table, a few words for each difference, and the columns whose content was not compared."""
    columns = list(_columns(cursor, source))
    carried = {
        name
        for (name,) in rows(
            client, "SELECT name FROM system.columns WHERE database = 'raw' AND table = {t:String}", t=target
        )
    }
    postgres_words, clickhouse_words, names = ["count(*)::text"], ["toString(count())"], ["number of rows"]
    left_out = []
    for name, kind in columns:
        if name not in carried:
            left_out.append(f"{source}.{name} (not in raw)")
            continue
        way = _way(name, kind, entry)
        if isinstance(way, str):
            left_out.append(f"{source}.{name} ({way})")
        # A NULL array arrives as an empty one (docs/types.md); what is replaced may have become NULL.
        if kind.startswith("_") or way == "with replacements":
            continue
        here, there = _in_postgres(name), quoted(name)
        postgres_words.append(f"count({here})::text")
        clickhouse_words.append(f"toString(count({there}))")
        names.append(f"number of values in {name}")
        if not isinstance(way, str):
            postgres_words.append(way[0].format(c=here))
            clickhouse_words.append(way[1].format(c=there))
            names.append(f"content of {name}")
    condition = f" WHERE ({entry['where']}\n)" if "where" in entry else ""
    schema, _, table = source.partition(".")
    cursor.execute(f"SELECT {', '.join(postgres_words)} FROM {_in_postgres(schema)}.{_in_postgres(table)}{condition}")
    in_postgres = [_decimal(value) for value in cursor.fetchone()]
    (answer,) = rows(client, f"SELECT {', '.join(clickhouse_words)} FROM raw.{quoted(target)} SETTINGS final = 1")
    in_raw = [_decimal(value) for value in answer]
    differences = [
        f"{source}: {name} is {a} in Postgres and {b} in raw"
        for name, a, b in zip(names, in_postgres, in_raw, strict=True)
        if a != b
    ]
    return int(in_postgres[0]), differences, left_out


def raw_equals_postgres(context: Context) -> Iterator[str]:
    total = 0
    differences: list[str] = []
    left_out: list[str] = []
    said = entries(context.paths.repo / "pipeline.yml")
    with connections.warehouse(context.env) as client, connections.source(context.env) as cursor:
        tables = published(client)
        for target, _rows, _run, source in tables:
            count, found, not_compared = compare(cursor, client, source, target, said.get(source, {}))
            total += count
            differences += found
            left_out += not_compared
    if differences:
        raise StackError("; ".join(differences[:5]))
    but = f" but the content of {', '.join(left_out)}" if left_out else ""
    yield f"{total:,} rows of {len(tables)} tables, every column{but}"


STATES_IN_POSTGRES = """
    SELECT c.state, count(*)::text, sum(i.subtotal)::text,
           coalesce(sum(i.subtotal) FILTER (WHERE o.status NOT IN ('cancelled', 'returned')), 0)::text
    FROM order_items i JOIN orders o USING (order_id) JOIN customers c USING (customer_id)
    GROUP BY c.state
"""
STATES_IN_MARTS = """
    SELECT customer_state, toString(count()), toString(sum(gross_revenue)), toString(sum(net_revenue))
    FROM analytics.fact_sales GROUP BY customer_state
"""
MART_OF_STATES = (
    "SELECT customer_state, toString(gross_revenue), toString(net_revenue) FROM analytics.agg_sales_by_state"
)


def marts_equal_postgres(context: Context) -> Iterator[str]:
    if context.env.SAMPLE_SHOP == "false":
        yield "no sample marts (SAMPLE_SHOP=false)"
        return
    with connections.warehouse(context.env) as client, connections.source(context.env) as cursor:
        cursor.execute(STATES_IN_POSTGRES)
        in_postgres = {state: (count, _decimal(gross), _decimal(net)) for state, count, gross, net in cursor.fetchall()}
        in_facts = {
            state: (count, _decimal(gross), _decimal(net)) for state, count, gross, net in rows(client, STATES_IN_MARTS)
        }
        in_states = {state: (_decimal(gross), _decimal(net)) for state, gross, net in rows(client, MART_OF_STATES)}
    if in_facts != in_postgres:
        raise StackError(_first_difference("fact_sales", in_postgres, in_facts))
    expected = {state: (gross, net) for state, (_count, gross, net) in in_postgres.items()}
    if in_states != expected:
        raise StackError(_first_difference("agg_sales_by_state", expected, in_states))
    yield f"gross and net revenue of {len(in_postgres)} states, to the cent"


def _first_difference(mart: str, expected: dict[str, Any], found: dict[str, Any]) -> str:
    state = next(state for state in sorted({*expected, *found}) if expected.get(state) != found.get(state))
    return f"{mart} says {found.get(state)} of {state} and Postgres {expected.get(state)}: start a run of elt_pipeline in Airflow."
