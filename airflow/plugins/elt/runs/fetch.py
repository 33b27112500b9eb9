"""The first half of a run of a source that is read by the day: from the API into the lake."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import date

from warehouse import records

from elt.planning.selection import choose
from elt.runs.place import daily, place_of
from elt.settings import Settings


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
