"""The first half of a run of a source that is read by the day: from the API into the lake."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import date

from warehouse import ops, records
from warehouse.client import Warehouse
from warehouse.errors import PipelineError

from elt.planning.selection import choose
from elt.runs.place import daily, place_of
from elt.settings import Settings

_SIGN_SECONDS = 60.0


@dataclass(frozen=True)
class Fetched:
    """A table's rows of a day in the lake."""

    target: str
    rows: int


def fetch(
    settings: Settings,
    *,
    source: str,
    day: date | None = None,
    run: int | None = None,
    tables: Sequence[str] | None = None,
    tell: Callable[[str], None] = lambda _: None,
) -> list[Fetched]:
    """Fetches the tables of a day, today (UTC) without, into the lake; nothing of the warehouse is touched or asked.

    `run` is the run that will load them: what it has fetched already is not fetched again, so that a task may be repeated at any point. Without,
    everything is fetched anew. Fetches of several days, or of several tables, may go on side by side. Raises PipelineError at the first table
    that fails; what was fetched before it stays.
    """
    place = place_of(settings, source)
    found = daily(place)
    number = records.microseconds() if run is None else run
    chosen = choose(place.entries(), tables)
    wanted = day or records.now().date()
    return [Fetched(entry.target_name, found.fetch(entry, number, wanted, tell)) for entry in chosen]


def fetch_run(settings: Settings, *, run: int, tell: Callable[[str], None] = lambda _: None) -> list[Fetched]:
    """Fetches the tables and the day of a run that has begun, before its snapshot is held, which then finds them in the lake.

    Safe to repeat at any point: what the run has fetched is not fetched again. Raises PipelineError; a table of `on_error: keep` that fails is
    left out, and is tried once more when the snapshot is taken.
    """
    with Warehouse(settings.warehouse) as warehouse:
        found = ops.find_run(warehouse, run)
        place = place_of(settings, found.source_name)
        source = daily(place)
        said = time.monotonic()

        def alive(sentence: str) -> None:
            nonlocal said
            tell(sentence)
            # A run without an event counts as dead after a while.
            if time.monotonic() - said >= _SIGN_SECONDS:
                said = time.monotonic()
                records.append(warehouse, [found])

        fetched = []
        for entry in choose(place.entries(), found.tables):
            try:
                rows = source.fetch(entry, run, date.fromisoformat(found.day), alive)
            except PipelineError as error:
                if entry.on_error != "keep":
                    raise
                tell(str(error))
                continue
            fetched.append(Fetched(entry.target_name, rows))
        return fetched
