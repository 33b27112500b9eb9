"""A table of items: read from the objects that manifests name, as a stream and as checksums."""

from __future__ import annotations

import gzip
import hashlib
import time
import zlib
from collections.abc import Callable, Generator, Iterator, Sequence
from dataclasses import dataclass
from datetime import date

from warehouse.errors import TerminalError, TransientError
from warehouse.quoting import quote

from elt.errors import SourceRefusedError
from elt.lake.manifest import LakeObject, Manifest
from elt.lake.store import Lake
from elt.mapping import ColumnMapping, TableMapping
from elt.sources.base import Number, Sent, Sums, Tick
from elt.sources.checksums import NUMBER_OF_TEXT, Checksums, number_of_text
from elt.sources.rest.options import RestEndpoint

_BEAT_SECONDS = 1.0
_EPOCH_DAY = date(1970, 1, 1).toordinal()

COLUMNS = (
    ColumnMapping("dt", "day for which the item was fetched", "Date32"),
    ColumnMapping("object", "object of the lake", "String"),
    ColumnMapping("row", "line of the object, from 1", "UInt32"),
    ColumnMapping("data", "the item as it was sent", "String"),
)
_IN_CLICKHOUSE = {
    "dt": f"toInt64(toInt32({quote('dt')}))",
    "object": NUMBER_OF_TEXT.format(quote("object")),
    "row": f"toInt64({quote('row')})",
    "data": NUMBER_OF_TEXT.format(quote("data")),
}


@dataclass(frozen=True)
class Lines:
    """The items of one object."""

    day: date
    path: str
    items: Sequence[bytes]


class RestReader:
    """The items of one endpoint: of one day, or of every day that the lake has."""

    def __init__(
        self,
        lake: Lake,
        entry: RestEndpoint,
        manifests: Sequence[Manifest],
        partition: str | None,
        source: str,
        is_cancelled: Callable[[], bool],
    ) -> None:
        self.partition = partition
        self._lake, self._manifests, self._is_cancelled = lake, manifests, is_cancelled
        rows = sum(one.items for one in manifests)
        self.mapping = TableMapping(f"{source}.{entry.name}", COLUMNS, (), entry, estimated_rows=rows)

    def read(self, condition: str | None, tick: Tick) -> ItemStream:
        if condition is not None:
            raise SourceRefusedError(f"{self.mapping.name}: items are read whole, not by a condition ({condition})")
        return ItemStream(self.mapping.wire, self._lines(), self.mapping.estimated_rows or 0, tick)

    def numbers(self) -> tuple[Number, ...]:
        return tuple(Number(column.name, _IN_CLICKHOUSE[column.name], False) for column in COLUMNS)

    def sums(self, columns: Sequence[str], buckets: int, beat: Callable[[], None], *, again: bool = False) -> Sums:
        if buckets != 1:
            raise SourceRefusedError(f"{self.mapping.name}: items are compared whole, not by buckets of a key")
        checksums = Checksums(len(columns))
        beaten = time.monotonic()
        for lines in self._lines():
            count = len(lines.items)
            numbers = {
                "dt": [lines.day.toordinal() - _EPOCH_DAY] * count,
                "object": [number_of_text(lines.path.encode())] * count,
                "row": range(1, count + 1),
                "data": [number_of_text(item) for item in lines.items],
            }
            checksums.add([numbers[name] for name in columns])
            if time.monotonic() - beaten >= _BEAT_SECONDS:
                beaten = time.monotonic()
                beat()
        return {0: checksums.result()}

    def rows_in(self, columns: Sequence[str], buckets: Sequence[int], tick: Tick) -> ItemStream:
        raise SourceRefusedError(f"{self.mapping.name}: items are compared whole, not by buckets of a key")

    def _lines(self) -> Iterator[Lines]:
        for manifest in self._manifests:
            for one in manifest.objects:
                if self._is_cancelled():
                    raise TransientError(f"Reading {one.path} was stopped; run again")
                yield Lines(manifest.day, one.path, _items(self._lake, one))


def _items(lake: Lake, one: LakeObject) -> list[bytes]:
    """Returns the lines of an object. Raises TerminalError where it is not what its manifest says."""
    content = lake.read(one.path)
    cure = "fetch the day again, or load it from a copy of the lake"
    if hashlib.sha256(content).hexdigest() != one.sha256:
        raise TerminalError(
            f"{one.path} in the lake is not as it was written ({len(content)} bytes, {one.bytes} were); {cure}"
        )
    try:
        items = gzip.decompress(content).split(b"\n")[:-1]
    except (OSError, EOFError, zlib.error) as error:
        raise TerminalError(f"{one.path} in the lake cannot be unpacked ({error}); {cure}") from None
    if len(items) != one.items:
        raise TerminalError(f"{one.path} in the lake has {len(items)} items and its manifest says {one.items}; {cure}")
    return items


class ItemStream:
    """Items as TabSeparated, a piece for each object."""

    format = "TabSeparated"

    def __init__(self, columns: tuple[str, ...], lines: Iterator[Lines], estimated: int, tick: Tick) -> None:
        self.columns = columns
        self.sent = Sent()
        self.error: Exception | None = None
        self._lines = lines
        self._estimated = estimated
        self._tick = tick

    def chunks(self) -> Generator[memoryview, None, None]:
        """Yields the bytes. Raises the error of the lake where they end."""
        told = time.monotonic()
        try:
            for lines in self._lines:
                piece = _tab_separated(lines)
                self.sent.rows += len(lines.items)
                self.sent.bytes += len(piece)
                yield memoryview(piece)
                if time.monotonic() - told >= _BEAT_SECONDS:
                    told = time.monotonic()
                    self._tick(self._estimated, self.sent.bytes)
        except (TerminalError, TransientError) as error:
            self.error = error
            raise


def _tab_separated(lines: Lines) -> bytes:
    begin = f"{lines.day.isoformat()}\t{lines.path}\t".encode()
    return b"".join(
        [
            b"%b%d\t%b\n" % (begin, row, item.replace(b"\\", b"\\\\").replace(b"\t", b"\\t"))
            for row, item in enumerate(lines.items, 1)
        ]
    )
