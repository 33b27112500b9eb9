"""`python -m elt_airflow.refresh [TABLE..]`: loads, publishes and builds the marts, as a run of the DAG does, and shows how far it is."""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Sequence

from elt.cli.progress import shown_progress
from elt.cli.results import print_loads
from elt.runs.whole_run import Listener, load_everything
from elt.settings import read_settings
from rich.console import Console
from rich.markup import escape
from warehouse.errors import PipelineError, TerminalError, TransientError

from elt_airflow.webhook import ACTIVE, DbtRun, Webhook, WebhookUnavailableError

POLL_SECONDS = 1.0
UNREACHABLE_FOR_SECONDS = 300.0
_SHOWN = 3


def main(arguments: Sequence[str] | None = None) -> int:
    """Returns 0 when tables and marts are published, 1 after an error in one sentence, 130 when interrupted."""
    options = _parser().parse_args(arguments)
    out = Console(highlight=False, width=None if sys.stdout.isatty() else 250)
    err = Console(stderr=True, soft_wrap=True, highlight=False)
    began = time.monotonic()
    try:
        # Before the load, which would be in vain without it.
        webhook = Webhook.from_environment()
        with shown_progress(out) as listener:
            loaded = load_everything(
                read_settings(), listener, tables=options.tables, full_refresh=options.full_refresh
            )
        print_loads(loaded, out)
        with shown_progress(out) as listener:
            built = _build(webhook, f"refresh/{loaded.run}", full_refresh=options.full_refresh, listener=listener)
    except PipelineError as error:
        err.print(f"[red]error[/red]: {escape(str(error))}")
        return 1
    except KeyboardInterrupt:
        err.print("Interrupted; what readers see is unchanged or complete. A dbt run that has begun goes on.")
        return 130
    rows = sum(load.rows for load in loaded.loads if not load.kept)
    tests = sum(node.node.startswith("test.") for node in built.nodes)
    out.print(
        f"Refreshed in {time.monotonic() - began:.1f} s: {rows:,} rows of {len(loaded.published.tables)} tables loaded, "
        f"{len(built.nodes) - tests} models and snapshots built, {tests} tests held."
    )
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="scripts/refresh",
        description="Copies the source as it is now, publishes it, and builds and publishes the marts.",
    )
    parser.add_argument("tables", nargs="*", metavar="TABLE", help="orders or public.orders; without any: all")
    parser.add_argument(
        "--full-refresh", action="store_true", help="copy whole tables, and rebuild incremental models from nothing"
    )
    return parser


def _build(webhook: Webhook, key: str, *, full_refresh: bool, listener: Listener) -> DbtRun:
    """Starts a build and waits for its end. Raises TerminalError with the first failed nodes, TransientError for other failures."""
    listener.step("starting dbt")
    try:
        run = webhook.start(key, {"command": "build", "full_refresh": full_refresh})
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
