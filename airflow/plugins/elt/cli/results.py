"""Shows what a run has loaded, and what it left as it was."""

from __future__ import annotations

from collections.abc import Sequence

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from elt.runs.whole_run import WholeRun


def print_loads(done: WholeRun, out: Console) -> None:
    table = Table("table", "mode", "rows", "MB", "seconds", "rows/s", "columns verified", title=f"run {done.run}")
    for load in sorted(done.loads, key=lambda load: load.target):
        if load.kept:
            continue
        speed = load.rows / load.seconds if load.seconds else 0.0
        cells = (f"{load.rows:,}", f"{load.bytes / 1e6:,.1f}", f"{load.seconds:.2f}", f"{speed:,.0f}")
        table.add_row(escape(f"raw.{load.target}"), load.mode, *cells, str(len(load.verified_columns) or ""))
    out.print(table)
    for note in filter(None, (*(load.note for load in done.loads), done.note)):
        out.print(f"[yellow]note[/yellow]: {escape(note)}")
    for load in done.loads:
        if load.kept:
            out.print(
                f"[yellow]warning[/yellow]: raw.{escape(load.target)} keeps what was published before: {escape(load.kept)}"
            )
        print_not_verified(load.target, load.not_verified, out)


def print_not_verified(target: str, columns: Sequence[str], out: Console) -> None:
    if columns:
        out.print(f"[yellow]not compared[/yellow] in raw.{escape(target)}: {escape('; '.join(columns))}")
