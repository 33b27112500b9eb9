"""Columns of texts as the stream of an insert."""

from __future__ import annotations

import time
from collections.abc import Generator, Iterator, Sequence

import pyarrow as pa
import pyarrow.compute as pc
from warehouse.errors import PipelineError

from elt.sources.base import Sent, Tick

BEAT_SECONDS = 1.0


class TextStream:
    """Rows as TabSeparated, a piece for each batch."""

    format = "TabSeparated"

    def __init__(self, columns: tuple[str, ...], batches: Iterator[Sequence[pa.Array]], tick: Tick) -> None:
        """`batches` are columns of texts that are escaped already; NULL is NULL."""
        self.columns = columns
        self.sent = Sent()
        self.error: Exception | None = None
        self._batches = batches
        self._tick = tick

    def chunks(self) -> Generator[memoryview, None, None]:
        """Yields the bytes. Raises the error of the files where they end."""
        told = time.monotonic()
        try:
            for batch in self._batches:
                if not len(batch[0]):
                    continue
                piece = tab_separated(batch)
                self.sent.rows += len(batch[0])
                self.sent.bytes += len(piece)
                yield piece
                if time.monotonic() - told >= BEAT_SECONDS:
                    told = time.monotonic()
                    self._tick(self.sent.rows, self.sent.bytes)
        except PipelineError as error:
            self.error = error
            raise


def tab_separated(columns: Sequence[pa.Array]) -> memoryview:
    """Returns the lines of some rows."""
    rows = pc.binary_join_element_wise(*columns, "\t", null_handling="replace", null_replacement="\\N")
    lines = pc.binary_join_element_wise(rows, "", "\n")
    # The texts of an array lie behind each other in one buffer.
    size = pc.sum(pc.binary_length(lines)).as_py()
    return memoryview(lines.buffers()[2])[:size]
