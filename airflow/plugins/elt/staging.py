"""The staging view of a raw table, and what dbt must know of it, as files that their owner may go on writing.

One view for each raw table, which is the only reader of its source: columns under plain names, nothing computed.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from elt.catalogue import SourceTable
from elt.names import quote_clickhouse
from elt.statements import LOADED_COLUMN, Shape

FOLDER = Path("models/staging/own")


@dataclass(frozen=True)
class Written:
    model: str
    files: tuple[Path, ...]
    """Empty where the model was there already."""


def slug(name: str) -> str:
    """A name that needs no quotes anywhere: lower case letters, digits and underscores, and no digit first."""
    plain = re.sub(r"_+", "_", re.sub(r"[^a-z0-9]+", "_", name.lower())).strip("_") or "column"
    return f"_{plain}" if plain[0].isdigit() else plain


def write_staging(dbt: Path, shape: Shape, target: str, comments: dict[str, str]) -> Written:
    """Writes the view and its yml into the dbt project, unless a model of that name is there."""
    model = f"stg_{slug(target)}"
    if any((dbt / "models").rglob(f"{model}.sql")):
        return Written(model, ())
    columns = _named([column.name for column in shape.columns])
    folder = dbt / FOLDER
    folder.mkdir(parents=True, exist_ok=True)
    files = (folder / f"{model}.sql", folder / f"{model}.yml")
    files[0].write_text(_sql(target, columns), encoding="utf-8")
    files[1].write_text(_yml(model, target, shape, columns, comments), encoding="utf-8")
    return Written(model, files)


def _named(columns: Sequence[str]) -> list[tuple[str, str]]:
    """(column of `raw`, column of the view); a second column of one plain name gets a number."""
    named: list[tuple[str, str]] = []
    taken = {"loaded_at"}
    for column in columns:
        plain = base = slug(column)
        number = 2
        while plain in taken:
            plain, number = f"{base}_{number}", number + 1
        taken.add(plain)
        named.append((column, plain))
    return named


def _sql(target: str, columns: Sequence[tuple[str, str]]) -> str:
    selected = [
        f"        {plain}," if name == plain else f"        {quote_clickhouse(name)} as {plain},"
        for name, plain in columns
    ]
    return "\n".join(
        [
            "with source as (",
            "",
            f"    select * from {{{{ source('raw', {_literal(target)}) }}}}",
            "",
            "),",
            "",
            "renamed as (",
            "",
            "    select",
            *selected,
            f"        {LOADED_COLUMN} as loaded_at",
            "    from source",
            "",
            ")",
            "",
            "select * from renamed",
            "",
        ]
    )


def _yml(model: str, target: str, shape: Shape, columns: Sequence[tuple[str, str]], comments: dict[str, str]) -> str:
    declared = {column.name: column.declared for column in shape.columns}
    not_null = {column.name for column in shape.table.columns if column.not_null}
    key = shape.key
    grain = f"One row for each {' and '.join(key)}." if key else f"One row for each row of {shape.table.name}."
    lines = [
        "sources:",
        "  - name: raw",
        "    schema: raw",
        "    tables:",
        f"      - name: {json.dumps(target, ensure_ascii=False)}",
        f"        description: {json.dumps(_described(shape.table, comments), ensure_ascii=False)}",
        "        config:",
        "          # The loader's own record, which also tells of a load that brought no new row.",
        "          loaded_at_query: >-",
        "            select max(ended_at) from ops.loads final",
        "            where target = '{{ this.identifier }}' and status = 'published'",
        "          freshness:",
        "            warn_after: {count: 26, period: hour}",
        "            error_after: {count: 50, period: hour}",
        "",
        "models:",
        f"  - name: {model}",
        f"    description: {json.dumps(f'{_described(shape.table, comments)} {grain}', ensure_ascii=False)}",
        "    columns:",
    ]
    at_source = {column.name: column.source_name for column in shape.columns}
    for name, plain in columns:
        about = comments.get(at_source[name]) or f"{name} of the source, {declared[name]}."
        lines += [f"      - name: {plain}", f"        description: {json.dumps(about, ensure_ascii=False)}"]
        if (name,) == key:
            lines.append("        data_tests: [unique, not_null]")
        elif name in key and name in not_null:
            lines.append("        data_tests: [not_null]")
    lines += ["      - name: loaded_at", "        description: Instant (UTC) at which the row was copied.", ""]
    return "\n".join(lines)


def _described(table: SourceTable, comments: dict[str, str]) -> str:
    return comments.get("") or f"Table {table.name} of the source, as the loader published it last."


def _literal(text: str) -> str:
    # Within a Jinja expression; a name that holds a quote is still one string.
    return "'" + text.replace("\\", "\\\\").replace("'", "\\'") + "'"
