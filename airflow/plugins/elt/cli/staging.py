"""Writes the staging view of a raw table and its yml; afterwards the files belong to the user.

Each raw table has one staging view, its only reader: it renames columns to plain names and computes nothing.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import yaml
from warehouse.quoting import literal, quote

from elt.mapping import LOADED_COLUMN, TableMapping

FOLDER = Path("models/staging/own")
SAMPLE = "shop"
"""Name of the folders with the sample shop's models."""
GROUP, OWN_GROUP = "raw", "raw_own"
"""dbt's sources for tables that keep their own names in `raw`: the usual one, and one for names that are taken there. Tables of any other source
stand in a dbt source of its name, so that `source:erp+` selects what hangs on it."""


@dataclass(frozen=True)
class Written:
    model: str
    files: tuple[Path, ...]
    """Empty if the model existed already."""


def slug(name: str) -> str:
    """Returns a name that needs no quotes anywhere: lower case letters, digits and underscores, no digit first."""
    plain = re.sub(r"_+", "_", re.sub(r"[^a-z0-9]+", "_", name.lower())).strip("_") or "column"
    return f"_{plain}" if plain[0].isdigit() else plain


@dataclass(frozen=True)
class Place:
    """Where dbt has a raw table: `source(group, table)`."""

    group: str
    table: str


def write_staging(
    dbt: Path,
    mapping: TableMapping,
    target: str,
    comments: Mapping[str, str],
    *,
    source: str,
    prefix: str,
    with_sample: bool,
) -> Written:
    """Writes the view and its yml into the dbt project, unless a model reads the raw table already.

    The view is `stg_<table>` in plain letters. If a model of another table has that name, it is `stg_<source>__<table>`; if that is taken too, a hash of
    the table's exact name is appended. Models of the sample shop count as readers only if the sample shop is in use; their names stay taken in any case.
    `prefix` begins the names in `raw` of the source's tables; empty where they keep their own.
    """
    models = sorted((dbt / "models").rglob("*.sql"))
    place = Place(source, target.removeprefix(prefix)) if prefix else Place(GROUP, target)
    places = (place, Place(GROUP, target), Place(OWN_GROUP, target))
    for file in models:
        if (with_sample or file.parent.name != SAMPLE) and _reads(file.read_text(encoding="utf-8"), places):
            return Written(file.stem, ())
    taken = {file.stem for file in models}
    mark = hashlib.sha256(target.encode()).hexdigest()[:6]
    plain, qualified = f"stg_{slug(target)}", f"stg_{slug(source)}__{slug(target)}"
    model = next(name for name in (plain, qualified, f"{qualified}_{mark}") if name not in taken)
    columns = _named([column.name for column in mapping.columns])
    folder = dbt / FOLDER
    folder.mkdir(parents=True, exist_ok=True)
    files = (folder / f"{model}.sql", folder / f"{model}.yml")
    if _is_declared(dbt, place, but=files[1]):
        # dbt accepts each table once in a source, even in a disabled one.
        place = Place(OWN_GROUP, target)
    files[1].write_text(_yml(model, place, target, mapping, columns, comments), encoding="utf-8")
    # Last, and atomically: an existing model is never written again.
    scratch = files[0].with_suffix(".sql.new")
    scratch.write_text(_sql(place, columns), encoding="utf-8")
    scratch.replace(files[0])
    return Written(model, files)


def _reads(sql: str, places: Sequence[Place]) -> bool:
    """Whether the model's SQL reads the raw table by source(), in the form that this module writes."""
    forms = "|".join(rf"['\"]{re.escape(one.group)}['\"]\s*,\s*{re.escape(_literal(one.table))}" for one in places)
    return re.search(rf"source\(\s*(?:{forms})\s*\)", sql) is not None


def _is_declared(dbt: Path, place: Place, but: Path) -> bool:
    """Whether a yml of the project, other than `but`, has the table among dbt's sources."""
    for file in sorted((dbt / "models").rglob("*.yml")):
        text = file.read_text(encoding="utf-8")
        if file == but or place.table not in text:
            continue
        for source in (yaml.safe_load(text) or {}).get("sources") or ():
            names = [table["name"] for table in source.get("tables") or ()]
            if source["name"] == place.group and place.table in names:
                return True
    return False


def in_jinja(text: str) -> str:
    """Escapes text for Jinja: dbt renders the result to the same text."""
    return re.sub(r"\{(?=[{%#])", "{{ '{' }}", text)


def _named(columns: Sequence[str]) -> list[tuple[str, str]]:
    """Returns (column of `raw`, column of the view); duplicate plain names get a number."""
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


def _sql(place: Place, columns: Sequence[tuple[str, str]]) -> str:
    # Qualified, because ClickHouse prefers an alias of the same SELECT to a column.
    selected = [
        f"        {plain}," if name == plain else f"        source.{in_jinja(quote(name))} as {plain},"
        for name, plain in columns
    ]
    return "\n".join(
        [
            "with source as (",
            "",
            f"    select * from {{{{ source('{place.group}', {_literal(place.table)}) }}}}",
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


def _yml(
    model: str,
    place: Place,
    target: str,
    mapping: TableMapping,
    columns: Sequence[tuple[str, str]],
    comments: Mapping[str, str],
) -> str:
    declared = {column.name: column.declared for column in mapping.columns}
    not_null = {column.name for column in mapping.columns if "Nullable(" not in column.clickhouse}
    key = mapping.key
    grain = f"One row for each {' and '.join(key)}." if key else f"One row for each row of {mapping.name}."
    # dbt sets names between backquotes as they are.
    quoted = quote(target)[1:-1]
    identifier = [f"        identifier: {_text(quoted)}"] if quoted != place.table else []
    freshness = f"select max(ended_at) from ops.loads final where target = {literal(target)} and status = 'published'"
    lines = [
        "sources:",
        f"  - name: {place.group}",
        "    schema: raw",
        "    tables:",
        f"      - name: {_text(place.table)}",
        *identifier,
        f"        description: {_text(_described(mapping, comments))}",
        "        config:",
        "          # The loader's own record, which also tells of a load that brought no new row.",
        f"          loaded_at_query: {_text(freshness)}",
        "          freshness:",
        "            warn_after: {count: 26, period: hour}",
        "            error_after: {count: 50, period: hour}",
        "",
        "models:",
        f"  - name: {model}",
        f"    description: {_text(f'{_described(mapping, comments)} {grain}')}",
        "    columns:",
    ]
    at_source = {column.name: column.source_name for column in mapping.columns}
    for name, plain in columns:
        about = comments.get(at_source[name]) or f"{name} of the source, {declared[name]}."
        lines += [f"      - name: {plain}", f"        description: {_text(about)}"]
        if (name,) == key:
            lines.append("        data_tests: [unique, not_null]")
        elif name in key and name in not_null:
            lines.append("        data_tests: [not_null]")
    lines += ["      - name: loaded_at", "        description: Instant (UTC) at which the row was copied.", ""]
    return "\n".join(lines)


def _described(mapping: TableMapping, comments: Mapping[str, str]) -> str:
    return comments.get("") or f"Table {mapping.name} of the source, as the loader published it last."


def _text(text: str) -> str:
    """Returns a YAML scalar that dbt renders to exactly this text."""
    return json.dumps(in_jinja(text))


def _literal(text: str) -> str:
    # Inside a Jinja expression; a name with a quote must stay one string.
    return "'" + text.replace("\\", "\\\\").replace("'", "\\'") + "'"
