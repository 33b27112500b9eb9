"""scripts/add_table: adds a table of the source to pipeline.yml, loads it into `raw`, and writes its staging view."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from pydantic import ValidationError
from rich.console import Console
from rich.markup import escape
from warehouse import ops
from warehouse.client import Warehouse
from warehouse.errors import PipelineError, TerminalError

from elt.cli.progress import shown_progress
from elt.cli.staging import Written, slug, write_staging
from elt.sources.postgres.columns import WIDE
from elt.destination.statements import map_table
from elt.pipeline.edit import add_entry
from elt.pipeline.file import TableEntry, read_pipeline
from elt.pipeline.names import TableName
from elt.planning.plan import write_plan
from elt.publishing import publish
from elt.runs.run import all_entries
from elt.runs.whole_run import load_everything
from elt.settings import Settings, read_settings
from elt.sources.postgres.catalogue import read_table
from elt.sources.postgres.session import Source

_COMMENTS = """
SELECT coalesce(a.attname::text, ''), d.description
FROM pg_description d LEFT JOIN pg_attribute a ON a.attrelid = d.objoid AND a.attnum = d.objsubid AND d.objsubid > 0
WHERE d.objoid = %s AND d.classoid = 'pg_class'::regclass
"""


def main(arguments: Sequence[str]) -> int:
    """Runs scripts/add_table; returns the exit code, with the meanings of elt.cli.main."""
    options = _parser().parse_args(arguments)
    out, err = Console(highlight=False, soft_wrap=True), Console(stderr=True, soft_wrap=True, highlight=False)
    try:
        settings = read_settings()
        if options.all:
            return _add_all(settings, options, out)
        return _add_one(settings, options, out)
    except PipelineError as error:
        err.print(f"[red]error[/red]: {escape(str(error))}")
        return 1


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="scripts/add_table", description="Carries a table of the source into raw, and gives it a staging view."
    )
    which = parser.add_mutually_exclusive_group(required=True)
    which.add_argument("name", nargs="?", metavar="NAME", help="table of the source: orders, or sales.orders")
    which.add_argument(
        "--all", action="store_true", help="a staging view for every table of pipeline.yml that has none"
    )
    parser.add_argument("--cursor", metavar="COLUMN", help="load it incrementally by this column")
    parser.add_argument("--lookback", metavar="TIME", help="with --cursor: 1h, or units of a number")
    parser.add_argument("--exclude", action="append", default=[], metavar="COLUMN", help="never leaves the source")
    parser.add_argument("--mask", action="append", default=[], metavar="COLUMN", help="leaves it as a salted hash only")
    parser.add_argument("--dbt", type=Path, required=True, metavar="FOLDER", help=argparse.SUPPRESS)
    return parser


def _add_one(settings: Settings, options: argparse.Namespace, out: Console) -> int:
    given: dict[str, object] = {}
    if options.cursor:
        given |= {"mode": "incremental", "cursor": options.cursor}
    if options.lookback:
        given["lookback"] = int(options.lookback) if options.lookback.isdigit() else options.lookback
    given |= {key: value for key in ("exclude", "mask") if (value := getattr(options, key))}
    name = _full_name(options.name)
    # Before anything is written, check that the table exists, is readable, and can be copied with these options.
    try:
        wanted = TableEntry.model_validate({"name": name, **given})
    except ValidationError as error:
        raise TerminalError(
            f"{name} cannot be added: {error.errors()[0]['msg'].removeprefix('Value error, ')}"
        ) from None
    with Source(settings, "elt add") as source:
        map_table(read_table(source, wanted.name), wanted, WIDE)
    entry = add_entry(settings.elt_pipeline, name, given)
    out.print(f"{escape(str(entry.name))} stands in {escape(str(settings.elt_pipeline))}")
    write_plan(settings)
    # A staging view without its table would fail the next dbt run.
    with shown_progress(out) as listener:
        done = load_everything(settings, listener, tables=[entry.target_name])
    out.print(f"raw.{escape(entry.target_name)} has {sum(table.rows for table in done.published.tables):,} rows")
    _told(_stage(settings, [entry], options.dbt), out)
    out.print("Every run carries it from now on. Next: scripts/refresh, which builds its view, or a run of the DAG")
    return 0


def _add_all(settings: Settings, options: argparse.Namespace, out: Console) -> int:
    with Warehouse(settings.warehouse) as warehouse:
        ops.check_tables(warehouse)
        existing = publish.uuids(warehouse)
    entries = all_entries(settings)
    loaded = [entry for entry in entries if entry.target_name in existing]
    written = _stage(settings, loaded, options.dbt)
    _told(written, out)
    new = sum(1 for one in written if one.files)
    out.print(f"{new} staging views written, {len(written) - new} were there already")
    if waiting := [entry.target_name for entry in entries if entry.target_name not in existing]:
        out.print(
            f"Not in raw yet: {escape(', '.join(waiting))}. Next: python -m elt load, then scripts/add_table --all"
        )
        return 1
    out.print("Next: scripts/refresh, which builds the views, or a run of the DAG")
    return 0


def _stage(settings: Settings, entries: Sequence[TableEntry], dbt: Path) -> list[Written]:
    written = []
    name = read_pipeline(settings.elt_pipeline).source.name
    # Tables with plain names come first, so they keep their names; others get a converted name.
    in_order = sorted(entries, key=lambda entry: (slug(entry.target_name) != entry.target_name, entry.target_name))
    with Source(settings, "elt add") as source:
        for entry in in_order:
            table = read_table(source, entry.name)
            comments = {str(name): str(text) for name, text in source.rows(_COMMENTS, (table.oid,))}
            written.append(
                write_staging(
                    dbt,
                    map_table(table, entry, WIDE),
                    entry.target_name,
                    comments,
                    source=name,
                    with_sample=settings.sample_shop,
                )
            )
    return written


def _told(written: Sequence[Written], out: Console) -> None:
    for one in written:
        for file in one.files:
            out.print(f"  {escape(str(file))}")


def _full_name(text: str) -> str:
    """Returns schema.table; a bare NAME is in schema public."""
    try:
        return str(TableName.parse(text))
    except ValueError:
        return str(TableName("public", text))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
