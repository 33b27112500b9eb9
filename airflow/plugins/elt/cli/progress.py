"""Progress of a run: bars on a terminal, elsewhere a line every few seconds."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, SpinnerColumn, TaskID, TaskProgressColumn, TextColumn
from rich.progress import Progress as Bars

from elt.runs.progress import Progress
from elt.runs.whole_run import Listener

_LINE_SECONDS = 5.0


@contextmanager
def shown_progress(out: Console) -> Iterator[Listener]:
    """Yields a listener that shows a run's progress on `out`. Loads call it from several threads."""
    if out.is_terminal:
        with _bars(out) as listener:
            yield listener
    else:
        yield _lines(out)


@contextmanager
def _bars(out: Console) -> Iterator[Listener]:
    columns = (
        SpinnerColumn(),
        TextColumn("{task.description}"),
        BarColumn(),
        TaskProgressColumn(),
        TextColumn("{task.fields[figures]}"),
    )
    tasks: dict[str, TaskID] = {}
    guard = threading.Lock()
    with Bars(*columns, console=out, transient=True) as bars:
        step_task = bars.add_task("starting", total=None, figures="")

        def step(text: str) -> None:
            bars.update(step_task, description=text)

        def progress(now: Progress) -> None:
            figures = f"{now.rows:,} rows  {now.bytes / 1e6:,.1f} MB  {now.rows_per_second:,.0f} rows/s"
            with guard:
                if now.target not in tasks:
                    tasks[now.target] = bars.add_task(escape(now.target), total=now.estimated_rows, figures="")
            total = None if now.estimated_rows is None else max(now.estimated_rows, now.rows)
            bars.update(tasks[now.target], completed=now.rows, total=total, figures=figures)

        yield Listener(step, progress)


def _lines(out: Console) -> Listener:
    last: dict[str, float] = {}

    def step(text: str) -> None:
        out.print(escape(text))

    def progress(now: Progress) -> None:
        if time.monotonic() - last.get(now.target, 0.0) >= _LINE_SECONDS or now.share == 1.0:
            last[now.target] = time.monotonic()
            out.print(escape(str(now)))

    return Listener(step, progress)
