"""Manifests, which say of which objects a day of an endpoint consists: `_manifest.json`, written after its objects. Whoever follows manifests never sees half of anything.

Below `raw/<source>/<endpoint>/dt=<day>/` each fetch has a folder of its own, `run=<run>/`, with its objects and its manifest, which stay as they are.
`_manifest.json` of the day is a copy of the newest one. `raw/<source>/_instants/<digest>.json` lists the manifests that one load reads.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from datetime import date, datetime
from typing import TypeVar

import msgspec
from warehouse.errors import TerminalError

from elt.lake.store import Lake, ObjectMissingError

RAW = "raw"
MANIFEST = "_manifest.json"
INSTANTS = "_instants"
DAY = "dt="
_RUN = "run="
_DIGITS = 16

_Kind = TypeVar("_Kind")


class LakeObject(msgspec.Struct, frozen=True):
    """An object of a manifest."""

    path: str
    """Below the lake."""
    items: int
    bytes: int
    sha256: str
    """Hash of the object as it is stored."""


class Manifest(msgspec.Struct, frozen=True):
    """One fetch of one endpoint for one day."""

    source: str
    endpoint: str
    day: date
    run: int
    started_at: datetime
    ended_at: datetime
    objects: tuple[LakeObject, ...]
    request: dict[str, str] = {}
    """Address and parameters of the first request, without secrets."""
    server_date: str = ""
    """The `Date` of the first answer."""
    version: int = 1

    @property
    def items(self) -> int:
        return sum(one.items for one in self.objects)

    @property
    def path(self) -> str:
        """Where it stays as it is."""
        return f"{run_folder(self.source, self.endpoint, self.day, self.run)}/{MANIFEST}"


class Named(msgspec.Struct, frozen=True):
    """A manifest as an instant names it."""

    path: str
    sha256: str


class Instant(msgspec.Struct, frozen=True):
    """The manifests that one load reads, by table in `raw`."""

    tables: dict[str, tuple[Named, ...]]


def day_folder(source: str, endpoint: str, day: date) -> str:
    """Returns the folder of a day, below the lake."""
    return f"{RAW}/{source}/{endpoint}/{DAY}{day.isoformat()}"


def run_folder(source: str, endpoint: str, day: date, run: int) -> str:
    """Returns the folder of one fetch, below the lake."""
    return f"{day_folder(source, endpoint, day)}/{_RUN}{run}"


def days(lake: Lake, source: str, endpoint: str) -> list[date]:
    """Returns the days that have a folder, whether or not anything was fetched to its end."""
    names = lake.names(f"{RAW}/{source}/{endpoint}")
    return [date.fromisoformat(name.removeprefix(DAY)) for name in names if name.startswith(DAY)]


def publish_manifest(lake: Lake, manifest: Manifest) -> None:
    """Writes the manifest into its run's folder, and then as the day's newest."""
    content = _encoded(manifest)
    lake.write(manifest.path, content)
    lake.write(f"{day_folder(manifest.source, manifest.endpoint, manifest.day)}/{MANIFEST}", content)


def of_run(lake: Lake, source: str, endpoint: str, day: date, run: int) -> Manifest | None:
    """Returns what this run has fetched; None where it has not come to its end."""
    return _found(lake, f"{run_folder(source, endpoint, day, run)}/{MANIFEST}")


def of_day(lake: Lake, source: str, endpoint: str, day: date) -> Manifest | None:
    """Returns what was fetched last for a day."""
    return _found(lake, f"{day_folder(source, endpoint, day)}/{MANIFEST}")


def write_instant(lake: Lake, source: str, tables: dict[str, Sequence[Manifest]]) -> str:
    """Writes down which manifests a load reads; returns the digest that names them."""
    named = {
        target: tuple(Named(one.path, _sha256(_encoded(one))) for one in manifests)
        for target, manifests in tables.items()
    }
    content = _encoded(Instant(named))
    digest = _sha256(content)[:_DIGITS]
    lake.write(_instant_path(source, digest), content)
    return digest


def read_instant(lake: Lake, source: str, digest: str) -> dict[str, tuple[Manifest, ...]]:
    """Returns the manifests by table. Raises ObjectMissingError where one is gone, TerminalError where one is not as it was."""
    content = lake.read(_instant_path(source, digest))
    if _sha256(content)[:_DIGITS] != digest:
        raise TerminalError(f"{_instant_path(source, digest)} in the lake is not as it was written; fetch again")
    named = _decoded(content, Instant, _instant_path(source, digest)).tables
    return {target: tuple(_checked(lake, one) for one in manifests) for target, manifests in named.items()}


def _checked(lake: Lake, named: Named) -> Manifest:
    content = lake.read(named.path)
    if _sha256(content) != named.sha256:
        raise TerminalError(f"{named.path} in the lake is not as it was written; fetch again")
    return _decoded(content, Manifest, named.path)


def _found(lake: Lake, path: str) -> Manifest | None:
    try:
        content = lake.read(path)
    except ObjectMissingError:
        return None
    return _decoded(content, Manifest, path)


def _decoded(content: bytes, kind: type[_Kind], path: str) -> _Kind:
    try:
        return msgspec.json.decode(content, type=kind)
    except msgspec.MsgspecError as error:
        raise TerminalError(f"{path} in the lake cannot be read ({error}); fetch again") from None


def _encoded(value: object) -> bytes:
    return msgspec.json.format(msgspec.json.encode(value), indent=1)


def _instant_path(source: str, digest: str) -> str:
    return f"{RAW}/{source}/{INSTANTS}/{digest}.json"


def _sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()
