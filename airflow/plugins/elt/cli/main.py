"""`python -m elt`: the command line of the loader. Each command prints what it does and what to do next.

Exit codes: 0 done, 1 an error in one sentence, 2 wrong usage, 130 interrupted.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Sequence
from datetime import date

from rich.console import Console
from rich.markup import escape
from rich.table import Table
from warehouse.errors import PipelineError, TerminalError

from elt.cli import check, status
from elt.cli.progress import shown_progress
from elt.cli.results import print_loads, print_not_verified
from elt.errors import PipelineFileError
from elt.pipeline.file import PipelineFile
from elt.planning import plan
from elt.planning.selection import sources_of
from elt.publishing.misfits import describe
from elt.runs import reconcile, run
from elt.runs.fetch import Fetched, fetch
from elt.runs.progress import LoadResult, PublishedTable
from elt.runs.reconcile import Compared
from elt.runs.whole_run import load_everything, run_key
from elt.settings import Settings, read_settings
from elt.sources.registry import read_pipeline

_ME = "python -m elt"
_NAMES = "a source of pipeline.yml, or tables: orders, public.orders, plan__targets; without any: all"


def main(arguments: Sequence[str]) -> int:
    """Runs one command; returns the exit code."""
    options = _parser().parse_args(arguments)
    # Do not wrap lines off a terminal.
    out = Console(highlight=False, width=None if sys.stdout.isatty() else 250)
    err = Console(stderr=True, soft_wrap=True, highlight=False)
    try:
        settings = read_settings()
        return _COMMANDS[options.command](options, settings, out)
    except PipelineFileError as error:
        err.print(f"[red]error[/red]: {escape(error.path)} is not right:")
        for mistake in error.mistakes:
            err.print(f"  {escape(mistake)}")
        return 1
    except PipelineError as error:
        err.print(f"[red]error[/red]: {escape(str(error))}")
        return 1
    except KeyboardInterrupt:
        err.print(f"Interrupted; what readers see is unchanged or complete. Next: {_ME} load")
        return 130


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog=_ME, description="Copies the sources of pipeline.yml into ClickHouse.")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    commands.add_parser("check", help="validate pipeline.yml and compare it with the live sources; changes nothing")
    commands.add_parser("plan", help="write the lists of tables that the DAGs read")
    load = commands.add_parser(
        "load", help="copy the tables of a source as they are at one instant, and publish them all or none"
    )
    load.add_argument("names", nargs="*", metavar="SOURCE|TABLE", help=_NAMES)
    load.add_argument("--full-refresh", action="store_true", help="copy whole tables, whatever their mode")
    load.add_argument("--verify", action="store_true", help="compare every value with the source before publishing")
    load.add_argument("--parallel", type=_positive, default=2, metavar="N", help="tables at once (2)")
    load.add_argument(
        "--dt",
        type=_day,
        metavar="DAY",
        help="of an API: the day to fetch and load, as 2026-01-31; today (UTC) without",
    )
    load.add_argument(
        "--from-lake",
        action="store_true",
        help="of an API: load what the lake has of the day, and ask the API for nothing",
    )
    fetch = commands.add_parser("fetch", help="fetch a day of an API into the lake, and load nothing")
    fetch.add_argument("names", nargs="+", metavar="SOURCE|TABLE", help=_NAMES)
    fetch.add_argument("--dt", type=_day, metavar="DAY", help="as 2026-01-31; today (UTC) without")
    verify = commands.add_parser(
        "verify", help="load tables beside what is published, compare every value with the source, and drop them again"
    )
    verify.add_argument("names", nargs="*", metavar="SOURCE|TABLE", help=_NAMES)
    verify.add_argument("--publish", action="store_true", help="publish what was found equal")
    verify.add_argument(
        "--published", action="store_true", help="load nothing: compare what is published, for a source at rest"
    )
    verify.add_argument("--parallel", type=_positive, default=2, metavar="N", help="tables at once (2)")
    reconcile = commands.add_parser(
        "reconcile",
        help="compare incremental tables with the source; copy anew those with rows that are missing or wrong",
    )
    reconcile.add_argument("names", nargs="*", metavar="SOURCE|TABLE", help=_NAMES)
    reconcile.add_argument(
        "--deleted", action="store_true", help="copy those anew, too, that have rows deleted at the source"
    )
    reconcile.add_argument("--dry-run", action="store_true", help="compare only")
    commands.add_parser("recover", help="finish publishes that were cut, close dead runs, drop their leftovers")
    commands.add_parser("status", help="the last runs, and what is published")
    return parser


def _positive(text: str) -> int:
    if not text.isdigit() or not 1 <= int(text) <= 32:
        raise argparse.ArgumentTypeError(f"{text} is not a number from 1 to 32")
    return int(text)


def _day(text: str) -> date:
    try:
        return date.fromisoformat(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text} is no day; write it as 2026-01-31") from None


def _check(options: argparse.Namespace, settings: Settings, out: Console) -> int:
    checked = check.check(settings)
    table = Table(
        "source", "warehouse", "rows, about", "columns", "key", "notes", title=escape(str(settings.elt_pipeline))
    )
    for found in checked.tables:
        rows = "?" if found.rows is None else f"{found.rows:,}"
        key, notes = ", ".join(found.key) or "none", "; ".join(found.notes)
        table.add_row(*map(escape, (found.source, f"raw.{found.target}", rows, str(found.columns), key, notes)))
    out.print(table)
    for note in checked.notes:
        out.print(f"[yellow]note[/yellow]: {escape(note)}")
    for mistake in checked.mistakes:
        out.print(f"[red]mistake[/red]: {escape(mistake)}")
    if checked.mistakes:
        out.print(f"Next: correct {'it' if len(checked.mistakes) == 1 else 'them'}, then {_ME} check")
        return 1
    out.print(f"All is well. Next: {_ME} load")
    return 0


def _plan(options: argparse.Namespace, settings: Settings, out: Console) -> int:
    kept_plans: list[str] = []
    sources = plan.write_plan(settings, tell=kept_plans.append)
    count = sum(len(source.tables) for source in sources)
    out.print(f"{count} tables written to {escape(str(settings.elt_plan))}:")
    for source in sources:
        if len(sources) > 1:
            out.print(f"{escape(source.name)} ({source.kind})")
        for table in source.tables:
            out.print(f"  {escape(table.source)} -> raw.{escape(table.target)} ({table.mode})")
    for sentence in kept_plans:
        out.print(f"[yellow]warning[/yellow]: {escape(sentence)}")
    out.print(f"The DAGs show them when their file is next read. Next: {_ME} load, or a run of a DAG")
    return 1 if kept_plans else 0


Wanted = tuple[str, tuple[str, ...]]
"""A source, and the tables of it that are asked for; none means all."""


def _wanted(settings: Settings, names: Sequence[str]) -> list[Wanted]:
    file: PipelineFile = read_pipeline(settings.elt_pipeline)
    return [(source.name, tables) for source, tables in sources_of(file, names)]


def _each(wanted: Sequence[Wanted], out: Console, do: Callable[[str, tuple[str, ...]], bool]) -> bool:
    """Whether `do` went well for each source. An error of one is told, and the others go on; that of the only one is raised."""
    well = True
    for name, tables in wanted:
        if len(wanted) > 1:
            out.print(f"[bold]{escape(name)}[/bold]")
        try:
            well = do(name, tables) and well
        except PipelineError as error:
            if len(wanted) == 1:
                raise
            out.print(f"[red]error[/red]: {escape(name)}: {escape(str(error))}")
            well = False
    return well


def _load(options: argparse.Namespace, settings: Settings, out: Console) -> int:
    published: list[PublishedTable] = []

    def load(source: str, tables: tuple[str, ...]) -> bool:
        with shown_progress(out) as listener:
            done = load_everything(
                settings,
                listener,
                source=source,
                tables=tables,
                full_refresh=options.full_refresh,
                workers=options.parallel,
                verify=options.verify,
                day=options.dt,
                from_lake=options.from_lake,
            )
        print_loads(done, out)
        published.extend(done.published.tables)
        return True

    wanted = _wanted(settings, options.names)
    well = _each(wanted, out, load)
    rows = sum(table.rows for table in published)
    at = "all read at one instant" if len(wanted) == 1 else "each source read at one instant"
    out.print(f"Published {len(published)} tables with {rows:,} rows, {at}.")
    out.print(f"Next: build the marts (POST /webhook/manual), or {_ME} status")
    return 0 if well else 1


def _fetch(options: argparse.Namespace, settings: Settings, out: Console) -> int:
    fetched: list[Fetched] = []

    def fetch_source(source: str, tables: tuple[str, ...]) -> bool:
        fetched.extend(fetch(settings, source=source, day=options.dt, tables=tables, tell=_dim(out)))
        return True

    well = _each(_wanted(settings, options.names), out, fetch_source)
    out.print(
        f"{sum(one.rows for one in fetched):,} items of {len(fetched)} endpoints are in the lake, {escape(settings.lake_url)}."
    )
    day = f" --dt {options.dt}" if options.dt else ""
    out.print(f"Next: {_ME} load --from-lake{day} {escape(' '.join(options.names))}")
    return 0 if well else 1


def _verify(options: argparse.Namespace, settings: Settings, out: Console) -> int:
    if options.published:
        return _verify_published(options, settings, out)
    loads: list[LoadResult] = []

    def verify(source: str, tables: tuple[str, ...]) -> bool:
        with shown_progress(out) as listener:
            done = load_everything(
                settings,
                listener,
                source=source,
                tables=tables,
                workers=options.parallel,
                verify=True,
                publish=options.publish,
            )
        print_loads(done, out)
        loads.extend(load for load in done.loads if not load.kept)
        return not any(load.kept for load in done.loads)

    well = _each(_wanted(settings, options.names), out, verify)
    columns = sum(len(load.verified_columns) for load in loads)
    out.print(f"Equal to the source at one instant: {len(loads)} tables, {columns} columns, every value.")
    out.print("Published." if options.publish else f"Nothing was published. Next: {_ME} load")
    return 0 if well else 1


def _verify_published(options: argparse.Namespace, settings: Settings, out: Console) -> int:
    if options.publish:
        raise TerminalError("--published compares what is published already; leave out --publish")
    compared: list[Compared] = []

    def compare(source: str, tables: tuple[str, ...]) -> bool:
        step = _dim(out)
        compared.extend(reconcile.compare_published(settings, source=source, tables=tables, step=step))
        return True

    well = _each(_wanted(settings, options.names), out, compare)
    if not compared and well:
        raise TerminalError(f"None of these tables has been published yet; copy them first: {_ME} load")
    for one in compared:
        if one.found.note:
            out.print(f"[yellow]note[/yellow]: {escape(one.source)}: {escape(one.found.note)}")
        print_not_verified(one.target, one.found.not_compared, out)
    wrong = [one for one in compared if not one.found.is_right]
    for one in wrong:
        out.print(f"[red]differs[/red]: {escape(one.source)}: {escape(one.found.difference)}")
    if wrong:
        out.print(f"Next: {_ME} load --full-refresh --verify {escape(' '.join(one.target for one in wrong))}")
        return 1
    rows, columns = sum(one.found.rows for one in compared), sum(len(one.found.columns) for one in compared)
    out.print(
        f"{rows:,} rows of {len(compared)} tables are as the source has them now, {columns} columns, every value."
    )
    return 0 if well else 1


def _dim(out: Console) -> Callable[[str], None]:
    return lambda text: out.print(escape(text), style="dim")


def _reconcile(options: argparse.Namespace, settings: Settings, out: Console) -> int:
    file = read_pipeline(settings.elt_pipeline)
    wanted = _wanted(settings, options.names)
    if not options.names:
        # Of a list it is known that none of its tables is incremental.
        some = [one for one in wanted if _may_be_incremental(file, one[0])]
        wanted = some or wanted
    codes: list[int] = []

    def compare(source: str, tables: tuple[str, ...]) -> bool:
        codes.append(_reconcile_one(options, settings, out, source, tables))
        return True

    well = _each(wanted, out, compare)
    return max([0 if well else 1, *codes])


def _may_be_incremental(file: PipelineFile, name: str) -> bool:
    return any(entry.mode == "incremental" for entry in file.find(name).entries)


def _reconcile_one(
    options: argparse.Namespace, settings: Settings, out: Console, source: str, tables: tuple[str, ...]
) -> int:
    result = reconcile.reconcile(settings, source=source, tables=tables, step=_dim(out))
    table = Table(
        "table",
        "rows at the source",
        "missing in raw",
        "other values",
        "of columns",
        "deleted at the source",
        "of these",
    )
    for one in result:
        seen = one.found
        counts = (
            f"{seen.rows:,}",
            f"{seen.missing:,}",
            f"{seen.changed:,}",
            ", ".join(seen.wrong),
            f"{seen.deleted:,}",
        )
        table.add_row(*map(escape, (f"raw.{one.target}", *counts, " ".join(seen.examples))))
    out.print(table)
    for one in result:
        print_not_verified(one.target, one.found.not_compared, out)
    anew = [one.target for one in result if not one.found.is_right or (one.found.deleted and options.deleted)]
    if anew and not options.dry_run:
        out.print(f"Copying {escape(', '.join(anew))} anew")
        with shown_progress(out) as listener:
            done = load_everything(settings, listener, source=source, tables=anew, full_refresh=True)
        print_loads(done, out)
        published = [table.target for table in done.published.tables]
        out.print(f"Published {escape(', '.join(published))} as they are at the source.")
        if len(published) < len(anew):
            return 1
    elif anew:
        out.print(f"Next: {_ME} reconcile, which copies {escape(', '.join(anew))} anew")
        return 1
    kept = [one.target for one in result if one.found.deleted and one.target not in anew]
    if kept:
        out.print(
            f"Rows deleted at the source stay in {escape(', '.join(kept))}. Next, to drop them: {_ME} reconcile --deleted"
        )
    else:
        out.print(f"Every row is in its place. Next: {_ME} status")
    return 0


def _recover(options: argparse.Namespace, settings: Settings, out: Console) -> int:
    nothing = True
    for source, _ in _wanted(settings, ()):
        recovered = run.recover(settings, source=source, holder=f"{run_key()}, recovering", tell=_dim(out))
        for target in recovered.published:
            out.print(f"finished the publish of raw.{escape(target)}")
        for number in recovered.closed_runs:
            out.print(f"closed run {number}, which was cut")
        for name in recovered.dropped:
            out.print(f"dropped leftover raw.{escape(name)}")
        for sentence in recovered.set_aside:
            out.print(f"[yellow]note[/yellow]: {escape(sentence)}")
        nothing = nothing and recovered.nothing
    if nothing:
        out.print("There was nothing to recover.")
    out.print(f"Next: {_ME} status, or {_ME} load")
    return 0


def _status(options: argparse.Namespace, settings: Settings, out: Console) -> int:
    state = status.read_status(settings)
    runs = Table("run", "by", "status", "began (UTC)", "seconds", "tables", "error", title="last runs")
    for one in state.runs:
        seconds = "" if one.ended_at is None else f"{(one.ended_at - one.started_at).total_seconds():.1f}"
        began = one.started_at.strftime("%Y-%m-%d %H:%M:%S")
        cells = (str(one.run), one.run_key, one.status, began, seconds, str(len(one.tables)), one.error)
        runs.add_row(*map(escape, cells))
    out.print(runs)
    tables = Table("table", "rows", "published (UTC)", "run", title="published")
    for table in state.tables:
        at = table.published_at.strftime("%Y-%m-%d %H:%M:%S")
        tables.add_row(escape(f"raw.{table.target}"), f"{table.rows:,}", at, str(table.run))
    out.print(tables)
    for entry in state.set_aside:
        out.print(f"[yellow]note[/yellow]: {escape(describe(entry))}")
    if state.absences:
        absent = Table("table", "source", "state", "since (UTC)", "why", title="not copied")
        for absence in state.absences:
            at = absence.since.strftime("%Y-%m-%d %H:%M:%S")
            absent.add_row(*map(escape, (f"raw.{absence.target}", absence.source, absence.status, at, absence.reason)))
        out.print(absent)
    for number in state.dbt_runs:
        out.print(f"dbt run {escape(number)} is at work; a publish waits for it")
    if state.open_publishes:
        names = ", ".join(sorted({f"raw.{entry.target}" for entry in state.open_publishes}))
        out.print(f"The publish of {escape(names)} is open. Next, unless a run is at work: {_ME} recover")
    else:
        out.print(f"Next: {_ME} load" if not state.runs or state.runs[0].status != "running" else "A run is at work.")
    return 0


_COMMANDS = {
    "check": _check,
    "fetch": _fetch,
    "plan": _plan,
    "load": _load,
    "verify": _verify,
    "reconcile": _reconcile,
    "recover": _recover,
    "status": _status,
}
