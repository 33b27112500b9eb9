"""Rows of a table's files whose values its types hold, and lines that are none."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import pyarrow as pa
import pyarrow.compute as pc
from warehouse.errors import TerminalError, TransientError

from elt.errors import SourceRefusedError
from elt.mapping import YearRange
from elt.sources.files import readers
from elt.sources.files.batch import Batch, Broken, shown
from elt.sources.files.folder import FoundFile
from elt.sources.files.kinds import Kind, swapped
from elt.sources.files.options import FilesTable, Format, format_of

_NUMERIC = ("Int64", "Float64", "Decimal")


class BrokenLineError(TerminalError):
    """A line of a file that is no row, or a value that the type given for its column does not hold."""

    def __init__(self, file: str, broken: Broken) -> None:
        self.file = file
        self.line = broken.line
        super().__init__(
            f"{file}, line {broken.line}: {broken.reason}; correct the file, or say rejects: table in pipeline.yml, "
            "which leaves such lines out and lists them"
        )


class Rows:
    """Rows of the files of a table, and the lines that are none."""

    def __init__(
        self, entry: FilesTable, files: Sequence[FoundFile], years: YearRange, is_cancelled: Callable[[], bool]
    ) -> None:
        self.entry = entry
        self.files = files
        self.rejects = 0
        """Broken lines that `good` has left out."""
        self._is_cancelled = is_cancelled
        self._told = {name: Kind(kind, years) for name, kind in entry.types.items()}

    def read(self) -> Iterator[tuple[FoundFile, Batch | Broken]]:
        """Yields all rows whose values fit `types:`, and broken lines, in the order of the files."""
        for file in self.files:
            with file.opened() as stream:
                for part in readers.read(file, stream, self.entry, _format(file, self.entry)):
                    if self._is_cancelled():
                        raise TransientError(f"Reading {file.name} was stopped; run again")
                    for piece in self._checked(part) if isinstance(part, Batch) else (part,):
                        yield file, piece

    def good(self) -> Iterator[tuple[FoundFile, Batch]]:
        """Yields the rows. Raises BrokenLineError for a line that is none, except where such lines have a table of their own."""
        self.rejects = 0
        for file, part in self.read():
            if isinstance(part, Batch):
                yield file, part
            elif self.entry.rejects == "fail":
                raise BrokenLineError(file.name, part)
            else:
                self.rejects += 1

    def _checked(self, batch: Batch) -> Iterator[Batch | Broken]:
        """Yields the rows of a batch without those with a value that `types:` does not allow, and those as broken."""
        problems: dict[int, str] = {}
        for name, kind in self._told.items():
            if (texts := batch.columns.get(name)) is None:
                continue
            held = kind.fits(numeric(texts, kind.name, batch))
            if not pc.all(held).as_py():
                for row, ok in enumerate(held.to_pylist()):
                    if not ok:
                        problems.setdefault(row, f"{name} is {shown(texts[row].as_py())}, which is no {kind.name}")
        for row, problem in sorted(problems.items()):
            yield Broken(batch.lines[row], problem, batch.text(row))
        yield batch.without(problems) if problems else batch


def _format(file: FoundFile, entry: FilesTable) -> Format:
    found = entry.format or format_of(file.name)
    if found is None:
        raise SourceRefusedError(
            f"{file.name}: the ending tells no format; say format: csv, jsonl, parquet or excel in pipeline.yml, or narrow path:"
        )
    return found


def numeric(texts: pa.Array, kind: str, batch: Batch) -> pa.Array:
    """Returns the texts of a column of this type with points for decimal commas."""
    return swapped(texts) if batch.comma and kind.startswith(_NUMERIC) else texts
