"""`python -m elt_airflow.refresh [SOURCE|TABLE..]`: loads, publishes and builds the marts, as runs of the DAGs do, and shows how far it is."""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Sequence

from elt.cli.progress import shown_progress
from elt.cli.results import print_loads
from elt.planning.selection import sources_of
from elt.runs.whole_run import Listener, WholeRun, load_everything
from elt.settings import Settings, read_settings
from elt.sources.registry import read_pipeline
from rich.console import Console
from rich.markup import escape
from warehouse.errors import PipelineError, TerminalError, TransientError

from elt_airflow.plan import what_hangs_on
from elt_airflow.webhook import (
    ACTIVE,
    DbtRun,
    UnknownSelectionError,
    Webhook,
    WebhookUnavailableError,
    build_request,
)

POLL_SECONDS = 1.0
UNREACHABLE_FOR_SECONDS = 300.0
_SHOWN = 3


def main(arguments: Sequence[str] | None = None) -> int:
    """Returns 0 when tables and marts are published, 1 after an error in one sentence, 130 when interrupted.

    An error of one source is told, and the others go on; dbt then builds what the others have published.
    """
    options = _parser().parse_args(arguments)
    out = Console(highlight=False, width=None if sys.stdout.isatty() else 250)
    err = Console(stderr=True, soft_wrap=True, highlight=False)
    began = time.monotonic()
    try:
        # Before the load, which would be in vain without it.
        webhook = Webhook.from_environment()
        settings = read_settings()
        loaded, failed = _load(settings, options, out, err)
        if not loaded:
            return 1
        built = _build_what_hangs(webhook, settings, options, loaded, out)
    except PipelineError as error:
        err.print(f"[red]error[/red]: {escape(str(error))}")
        return 1
    except KeyboardInterrupt:
        err.print("Interrupted; what readers see is unchanged or complete. A dbt run that has begun goes on.")
        return 130
    rows = sum(load.rows for done in loaded.values() for load in done.loads if not load.kept)
    tables = sum(len(done.published.tables) for done in loaded.values())
    nodes = built.nodes if built else ()
    tests = sum(node.node.startswith("test.") for node in nodes)
    out.print(
        f"Refreshed in {time.monotonic() - began:.1f} s: {rows:,} rows of {tables} tables loaded, "
        f"{len(nodes) - tests} models and snapshots built, {tests} tests held."
    )
    if failed:
        err.print(
            f"[red]error[/red]: {escape(', '.join(failed))} was not loaded; what is published of it is as it was."
        )
        return 1
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="scripts/refresh",
        description="Copies the sources as they are now, publishes each, and builds and publishes the marts.",
    )
    parser.add_argument(
        "names",
        nargs="*",
        metavar="SOURCE|TABLE",
        help="a source of pipeline.yml, or tables: orders, public.orders, erp__targets; without any: all, and all marts",
    )
    parser.add_argument(
        "--full-refresh", action="store_true", help="copy whole tables, and rebuild incremental models from nothing"
    )
    return parser


def _load(
    settings: Settings, options: argparse.Namespace, out: Console, err: Console
) -> tuple[dict[str, WholeRun], list[str]]:
    """Loads and publishes one source after the other; returns what was loaded, and the sources that were not.

    Raises the error of the only one.
    """
    wanted = sources_of(read_pipeline(settings.elt_pipeline), options.names)
    loaded: dict[str, WholeRun] = {}
    failed: list[str] = []
    for source, tables in wanted:
        if len(wanted) > 1:
            out.print(f"[bold]{escape(source.name)}[/bold]")
        try:
            with shown_progress(out) as listener:
                done = load_everything(
                    settings, listener, source=source.name, tables=tables, full_refresh=options.full_refresh
                )
        except PipelineError as error:
            if len(wanted) == 1:
                raise
            err.print(f"[red]error[/red]: {escape(source.name)}: {escape(str(error))}")
            failed.append(source.name)
            continue
        print_loads(done, out)
        loaded[source.name] = done
    return loaded, failed


def _build_what_hangs(
    webhook: Webhook, settings: Settings, options: argparse.Namespace, loaded: dict[str, WholeRun], out: Console
) -> DbtRun | None:
    """Builds everything where nothing was asked for by name, else what hangs on the sources; None where no model reads one of them."""
    main = read_pipeline(settings.elt_pipeline).main.name
    everything = not options.names or main in loaded
    select = [] if everything else [what_hangs_on(name) for name in loaded]
    key = f"refresh/{max(done.run for done in loaded.values())}"
    while True:
        try:
            with shown_progress(out) as listener:
                return _build(webhook, key, select, full_refresh=options.full_refresh, listener=listener)
        except UnknownSelectionError as error:
            read = [one for one in select if one.removesuffix("+") not in error.unknown]
            names = ", ".join(name.removeprefix("source:") for name in error.unknown)
            out.print(
                f"[yellow]note[/yellow]: no model of the dbt project reads {escape(names)} yet; scripts/add_table --all writes views that do"
            )
            if not read or read == select:
                return None
            select = read


def _build(webhook: Webhook, key: str, select: Sequence[str], *, full_refresh: bool, listener: Listener) -> DbtRun:
    """Starts a build and waits for its end.

    Raises TerminalError with the first failed nodes, UnknownSelectionError for a source that no model reads, TransientError for other failures.
    """
    listener.step("starting dbt")
    try:
        run = webhook.start(key, build_request(select, full_refresh=full_refresh))
    except UnknownSelectionError:
        raise
    except PipelineError as error:
        raise TransientError(f"The tables are loaded and published, the marts are as they were: {error}") from None
    answered, shown = time.monotonic(), -1
    while run.status in ACTIVE:
        time.sleep(POLL_SECONDS)
        try:
            found = webhook.run(run.id)
        except WebhookUnavailableError:
            if time.monotonic() - answered > UNREACHABLE_FOR_SECONDS:
                raise
            continue
        if found is None:
            raise TransientError(f"The webhook has lost the record of dbt run {run.id}; start scripts/refresh again")
        run, answered = found, time.monotonic()
        if len(run.nodes) != shown:
            shown = len(run.nodes)
            listener.step(f"building the marts: dbt run {run.id} is {run.status}, {shown} nodes done")
    if run.status == "success":
        return run
    failed = "; ".join(f"{node.name}: {node.message or node.status}" for node in run.failed_nodes[:_SHOWN])
    reason = failed or run.error or run.status
    cure = "see scripts/logs webhook-worker; the tables are loaded and published, the marts are as they were"
    kind = TerminalError if run.failed_nodes or run.status == "cancelled" else TransientError
    raise kind(f"dbt run {run.id} ended as {run.status} ({reason}); {cure}")


if __name__ == "__main__" and __package__ == "elt_airflow":
    sys.exit(main())
