"""Objects that nothing names any more: of fetches that a later one of the day has replaced, or that were cut."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import date, datetime

from elt.lake import manifest as manifests
from elt.lake.store import Lake, StoredObject


def find_unnamed(lake: Lake, before: datetime) -> Iterator[StoredObject]:
    """Yields the objects below raw/ that lie there since before an instant and that the manifest of no day names, with instants of that age.

    A load from an instant that goes then is started again; one takes no longer than the age that a caller chooses.
    """
    named: dict[tuple[str, str, str], set[str]] = {}
    for one in lake.objects(manifests.RAW):
        parts = one.path.split("/")
        if one.modified >= before or len(parts) < 4:
            continue
        source, endpoint, day = parts[1:4]
        if endpoint == manifests.INSTANTS:
            yield one
            continue
        if not day.startswith(manifests.DAY) or parts[4:] == [manifests.MANIFEST]:
            continue
        place = (source, endpoint, day)
        if place not in named:
            newest = manifests.of_day(lake, source, endpoint, date.fromisoformat(day.removeprefix(manifests.DAY)))
            named[place] = {newest.path, *(item.path for item in newest.objects)} if newest else set()
        if one.path not in named[place]:
            yield one
