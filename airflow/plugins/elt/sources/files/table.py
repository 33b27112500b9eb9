"""A table of files at one instant: its mapping, its rows as a stream, their checksums."""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import astuple
from functools import cached_property

import pyarrow as pa
from warehouse.errors import TerminalError

from elt.errors import SourceRefusedError
from elt.mapping import PAD, ColumnMapping, TableMapping, YearRange, check_names
from elt.sources.base import Number, Sums, Tick
from elt.sources.checksums import Checksums
from elt.sources.files.batch import ROWS, Batch, Broken, printable
from elt.sources.files.folder import FoundFile, vanished, version_text
from elt.sources.files.inference import Column
from elt.sources.files.kinds import Kind
from elt.sources.files.numbers import number_of, to_number
from elt.sources.files.options import FilesTable
from elt.sources.files.rows import Rows, numeric
from elt.sources.files.stream import BEAT_SECONDS, TextStream

_READER = 2
"""Raised when the same file would give other rows than before, so that unchanged files are read again."""
_LONGEST_REJECT = 10_000
"""Characters of a broken line that are kept."""

Texts = Sequence[pa.Array]


class TextTable:
    """A table whose rows come as columns of texts."""

    def __init__(
        self,
        source: str,
        entry: FilesTable,
        files: Sequence[FoundFile],
        years: YearRange,
        is_cancelled: Callable[[], bool],
    ) -> None:
        self._name = f"{source}.{entry.name}"
        """For people."""
        self._files = files
        self._entry = entry
        self._years = years
        self._rows = Rows(entry, files, years, is_cancelled)
        self.notes: tuple[str, ...] = ()
        """What a person should know of how the files were read, once `mapping` is known."""

    @property
    def mapping(self) -> TableMapping:
        raise NotImplementedError

    def batches(self) -> Iterator[Texts]:
        """Yields the texts of the mapping's columns, all of which their types hold."""
        raise NotImplementedError

    def read(self, condition: str | None, tick: Tick) -> TextStream:
        if condition is not None:
            raise SourceRefusedError(f"{self.mapping.name}: files are read whole, not by a condition ({condition})")
        kinds = [Kind(_inner(column), self._years) for column in self.mapping.columns]
        is_padded = PAD in self.mapping.wire

        def sent() -> Iterator[Texts]:
            for batch in self.batches():
                columns = [kind.wire(texts) for kind, texts in zip(kinds, batch, strict=True)]
                yield [*columns, pa.repeat(pa.scalar("0"), len(columns[0]))] if is_padded else columns

        return TextStream(self.mapping.wire, sent(), tick)

    def version(self) -> str:
        options = self._entry.model_dump(mode="json", exclude={"name", "target", "on_error"})
        facts = json.dumps([_READER, astuple(self._years), options], sort_keys=True)
        return version_text(self._files, hashlib.sha256(facts.encode()).hexdigest()[:16])

    def changes_since(self, before: str) -> str:
        """Returns a sentence on files that were there at version `before`; empty where all of them still are."""
        gone = vanished(before, self.version())
        return f"{', '.join(gone)} had rows of {self._name} and is not there any more" if gone else ""

    def numbers(self) -> tuple[Number, ...]:
        return tuple(number_of(column.name, column.clickhouse) for column in self.mapping.columns)

    def sums(self, columns: Sequence[str], buckets: int, beat: Callable[[], None], *, again: bool = False) -> Sums:
        if buckets != 1:
            raise SourceRefusedError(f"{self.mapping.name}: files are compared whole, not by buckets of a key")
        checksums = Checksums(len(columns))
        beaten = time.monotonic()
        for numbers in self._numbers(columns):
            checksums.add(numbers)
            if time.monotonic() - beaten >= BEAT_SECONDS:
                beaten = time.monotonic()
                beat()
        return {0: checksums.result()}

    def rows_in(self, columns: Sequence[str], buckets: Sequence[int], tick: Tick) -> TextStream:
        raise SourceRefusedError(f"{self.mapping.name}: files are compared whole, not by buckets of a key")

    def _numbers(self, columns: Sequence[str]) -> Iterator[list[list[int | None]]]:
        """Yields the numbers of rows, as columns."""
        places = {column.name: place for place, column in enumerate(self.mapping.columns)}
        chosen = [(places[name], to_number(_inner(self.mapping.columns[places[name]]))) for name in columns]
        for batch in self.batches():
            yield [
                [None if text is None else convert(text) for text in batch[place].to_pylist()]
                for place, convert in chosen
            ]


def _inner(column: ColumnMapping) -> str:
    kind = column.clickhouse
    return kind.removeprefix("Nullable(")[:-1] if kind.startswith("Nullable(") else kind


class FilesReader(TextTable):
    """The rows of a table of files."""

    @cached_property
    def mapping(self) -> TableMapping:
        """Reads all files."""
        entry, name = self._entry, self._name
        survey = _Survey(self._rows, self._years)
        found = survey.columns
        if not found:
            raise SourceRefusedError(
                f"{name}: {', '.join(file.name for file in self._files)} has neither a header nor a row; write the header into it"
            )
        file_column = [entry.file_column] if entry.file_column else []
        if taken := [one for one in file_column if one in found]:
            raise TerminalError(
                f"{name}: the files have a column {taken[0]} already; choose another file_column in pipeline.yml"
            )
        named = (*entry.exclude, *entry.types, *entry.order_by, *entry.key)
        if unknown := [one for one in dict.fromkeys(named) if one not in (*found, *file_column)]:
            raise TerminalError(
                f"{name} has no column {', '.join(unknown)}, it has {', '.join(found)}; correct what pipeline.yml says of its columns"
            )
        kept = {one: column for one, column in found.items() if one not in entry.exclude}
        check_names(name, [*kept, *file_column] if kept else [])
        columns = [_column(one, column, entry.types.get(one)) for one, column in kept.items()]
        columns += [ColumnMapping(one, "path of the file", "String") for one in file_column]
        types = {column.name: column.clickhouse for column in columns}
        if nullable := [one for one in (*entry.key, *entry.order_by) if types[one].startswith("Nullable(")]:
            raise TerminalError(
                f"{name} cannot be ordered by {', '.join(nullable)}, which has missing values; fill them in, or choose other columns"
            )
        self.notes = survey.notes(columns, entry.types)
        return TableMapping(name, tuple(columns), entry.key, entry, estimated_rows=survey.rows)

    def batches(self) -> Iterator[Texts]:
        columns = [(column.name, _inner(column)) for column in self.mapping.columns]
        for file, batch in self._rows.good():
            count = len(batch.lines)
            if not count:
                continue
            yield [
                pa.repeat(pa.scalar(file.name), count)
                if name == self._entry.file_column
                else numeric(batch.columns[name], kind, batch)
                if name in batch.columns
                else pa.nulls(count, pa.string())
                for name, kind in columns
            ]


def _column(name: str, column: Column, told: str | None) -> ColumnMapping:
    kind = told or column.kind()
    declared = "given by types:" if told else "inferred from all values"
    return ColumnMapping(name, declared, f"Nullable({kind})" if column.nulls else kind)


class _Survey:
    """Columns, types and rows of a table, from reading all of its files."""

    def __init__(self, rows: Rows, years: YearRange) -> None:
        self.columns: dict[str, Column] = {}
        self.rows = 0
        self._files_with: dict[str, set[str]] = {}
        """Files in which a column is, by column."""
        self._headers: dict[str, bool] = {}
        """Whether a file names its columns, by file."""
        for file, batch in rows.good():
            self._see(file.name, batch, years)
        self._rejects = rows.rejects
        for column in self.columns.values():
            # Rows of files, and of lines of JSON, that do not have it.
            column.nulls = self.rows - column.values
        self._check_headers()

    def _see(self, file: str, batch: Batch, years: YearRange) -> None:
        self.rows += len(batch.lines)
        if batch.columns:
            self._headers[file] = batch.has_header
        for name, texts in batch.columns.items():
            self._files_with.setdefault(name, set()).add(file)
            self.columns.setdefault(name, Column()).see(
                texts, batch.hints.get(name), has_schema=batch.has_schema, comma=batch.comma, years=years
            )

    def _check_headers(self) -> None:
        named = [file for file, is_named in self._headers.items() if is_named]
        plain = [file for file, is_named in self._headers.items() if not is_named]
        if named and plain:
            raise TerminalError(
                f"The first line of {named[0]} looks like a header and that of {plain[0]} does not; say header: true or false in pipeline.yml"
            )

    def notes(self, columns: Sequence[ColumnMapping], told: Mapping[str, str]) -> tuple[str, ...]:
        """Returns what a person should know of how the files were read."""
        notes = [f"{len(self._headers)} file{'s' if len(self._headers) > 1 else ''}"]
        if inferred := [f"{c.name} {_inner(c)}" for c in columns if c.name in self.columns and c.name not in told]:
            notes.append(f"inferred: {', '.join(inferred)}")
        if self._rejects:
            notes.append(f"broken lines, in the table of rejects: {self._rejects:,}")
        if not all(self._headers.values()):
            notes.append("no header: the first line is a row, and columns have numbers")
        for name, files in self._files_with.items():
            if missing := sorted(self._headers.keys() - files):
                notes.append(f"{name} is not in {', '.join(missing)}: NULL")
        return tuple(notes)


_REJECT_COLUMNS = (
    ColumnMapping("file", "path of the file", "String"),
    ColumnMapping("line", "line of the file; the row where it has no lines", "Int64"),
    ColumnMapping("reason", "why the line is no row", "String"),
    ColumnMapping("text", "the line, or its beginning", "String"),
)


class RejectsReader(TextTable):
    """The broken lines of a table of files."""

    @cached_property
    def mapping(self) -> TableMapping:
        return TableMapping(self._name, _REJECT_COLUMNS, (), self._entry)

    def batches(self) -> Iterator[Texts]:
        some: list[tuple[str, str, str, str]] = []
        for file, part in self._rows.read():
            if isinstance(part, Broken):
                some.append((file.name, str(part.line), part.reason, self._text(part)))
            if len(some) == ROWS:
                yield _columns(some)
                some = []
        if some:
            yield _columns(some)

    def _text(self, broken: Broken) -> str:
        """Returns the line; nothing of it where it may hold a column that must not leave the files."""
        return "" if self._entry.exclude else printable(broken.text[:_LONGEST_REJECT])


def _columns(rows: Sequence[tuple[str, ...]]) -> Texts:
    return [pa.array(values, pa.string()) for values in zip(*rows, strict=True)]
