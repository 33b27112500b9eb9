"""scripts/add_table: adds a table of a source to pipeline.yml, loads it into `raw`, and writes its staging view."""

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
from elt.mapping import WIDE, TableMapping
from elt.pipeline.edit import add_entry
from elt.pipeline.file import PipelineFile
from elt.pipeline.options import SourceEntry, TableEntry
from elt.planning.plan import write_plan
from elt.planning.selection import names_of, owner_of, select_tables
from elt.publishing import publish
from elt.runs.whole_run import load_everything
from elt.settings import Settings, read_settings
from elt.sources.base import Source
from elt.sources.registry import MODELS, open_source, read_pipeline


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
        prog="scripts/add_table", description="Carries a table of a source into raw, and gives it a staging view."
    )
    which = parser.add_mutually_exclusive_group(required=True)
    which.add_argument(
        "name", nargs="?", metavar="NAME", help="orders or sales.orders of a database; plan__targets of any source"
    )
    which.add_argument(
        "--all", action="store_true", help="a staging view for every table of pipeline.yml that has none"
    )
    parser.add_argument("--source", metavar="NAME", help="the database of pipeline.yml whose table it is")
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
    file = read_pipeline(settings.elt_pipeline)
    source, listed = _find(file, options.name, options.source)
    # Before anything is written, check that the table exists, is readable, and can be copied with these options.
    wanted = listed or _wanted(source, options.name, given)
    _describe(open_source(settings, source), [wanted])
    entry = listed or add_entry(settings.elt_pipeline, MODELS, source.name, str(wanted.name), given)
    out.print(f"{escape(str(entry.name))} stands in {escape(str(settings.elt_pipeline))}")
    write_plan(settings, source.name)
    # A staging view without its table would fail the next dbt run.
    with shown_progress(out) as listener:
        done = load_everything(settings, listener, source=source.name, tables=[entry.target_name])
    out.print(f"raw.{escape(entry.target_name)} has {sum(table.rows for table in done.published.tables):,} rows")
    _told(_stage(settings, source, [entry], options.dbt), out)
    out.print("Every run carries it from now on. Next: scripts/refresh, which builds its view, or a run of the DAG")
    return 0


def _find(file: PipelineFile, name: str, source_name: str | None) -> tuple[SourceEntry, TableEntry | None]:
    """The source of the table, and its entry where the file has one."""
    source = file.find(source_name) if source_name else owner_of(file, name)
    return source, next((entry for entry in source.entries if name in names_of(entry)), None)


def _wanted(source: SourceEntry, name: str, given: dict[str, object]) -> TableEntry:
    plain = source.table(name)
    try:
        return source.filled(type(plain).model_validate({"name": plain.name, **given}))
    except ValidationError as error:
        raise TerminalError(
            f"{plain.name} cannot be added: {error.errors()[0]['msg'].removeprefix('Value error, ')}"
        ) from None


def _describe(source: Source, entries: Sequence[TableEntry]) -> list[TableMapping]:
    """The mapping of each table. Raises PipelineError where one is missing or cannot be copied."""
    if not entries:
        return []
    with source.hold(entries, "add") as held, source.join(entries, "add", held.instant) as session:
        return [session.describe(entry, WIDE).mapping for entry in entries]


def _add_all(settings: Settings, options: argparse.Namespace, out: Console) -> int:
    with Warehouse(settings.warehouse) as warehouse:
        ops.check_tables(warehouse)
        existing = publish.uuids(warehouse)
    file = read_pipeline(settings.elt_pipeline)
    written: list[Written] = []
    waiting: list[str] = []
    for source in file.sources:
        entries = select_tables(file, open_source(settings, source)).entries
        written += _stage(settings, source, [one for one in entries if one.target_name in existing], options.dbt)
        waiting += [entry.target_name for entry in entries if entry.target_name not in existing]
    _told(written, out)
    new = sum(1 for one in written if one.files)
    out.print(f"{new} staging views written, {len(written) - new} were there already")
    if waiting:
        out.print(
            f"Not in raw yet: {escape(', '.join(waiting))}. Next: python -m elt load, then scripts/add_table --all"
        )
        return 1
    out.print("Next: scripts/refresh, which builds the views, or a run of the DAG")
    return 0


def _stage(settings: Settings, source: SourceEntry, entries: Sequence[TableEntry], dbt: Path) -> list[Written]:
    opened = open_source(settings, source)
    # Tables with plain names come first, so they keep their names; others get a converted name.
    in_order = sorted(entries, key=lambda entry: (slug(entry.target_name) != entry.target_name, entry.target_name))
    return [
        write_staging(
            dbt,
            mapping,
            entry.target_name,
            opened.comments(entry),
            source=source.name,
            prefix=source.prefix,
            with_sample=settings.sample_shop,
        )
        for entry, mapping in zip(in_order, _describe(opened, in_order), strict=True)
    ]


def _told(written: Sequence[Written], out: Console) -> None:
    for one in written:
        for file in one.files:
            out.print(f"  {escape(str(file))}")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
