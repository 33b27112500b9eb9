"""CSV as Python's csv module reads it in its strict mode, with the line of each record and the quotes that it does not tell."""

from __future__ import annotations

import csv
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import chain, islice

import pyarrow as pa
from warehouse.errors import TerminalError

from elt.sources.files.batch import BYTES, ROWS, Batch, Broken
from elt.sources.files.folder import HashedFile
from elt.sources.files.header import column_names
from elt.sources.files.options import FilesTable
from elt.sources.files.readers.text import is_text, misread, opened_text

_LONGEST_FIELD = 16 << 20
"""Characters. A quote that is never closed would otherwise take a whole file into memory."""
_DELIMITERS = ",;\t|"
_SAMPLE = 20
"""Records by which the delimiter is found."""


@dataclass(frozen=True)
class _Record:
    """One record; `row` is empty where it is broken."""

    line: int
    text: str
    """Without the end of its last line."""
    row: Sequence[str | None]
    problem: str = ""


def read_csv(name: str, stream: HashedFile, entry: FilesTable) -> Iterator[Batch | Broken]:
    """Yields the records of a CSV file."""
    with opened_text(name, stream, entry) as lines:
        for _ in islice(lines, entry.skip):
            pass
        sample = list(islice(lines, _SAMPLE))
        if not sample:
            return
        delimiter = entry.delimiter or _delimiter(name, sample, entry)
        records = _Records(chain(sample, lines), entry.skip, delimiter, entry)
        yield from _batches(name, iter(records), entry)


def _batches(name: str, records: Iterator[_Record], entry: FilesTable) -> Iterator[Batch | Broken]:
    first = next(records, None)
    if first is None:
        return
    if problem := first.problem or ("" if is_text(first.text) else misread(entry)):
        raise TerminalError(f"{name}, line {first.line}, the first one: {problem}")
    names, is_header = column_names(name, first.line, first.row, entry.header)
    some: list[_Record] = []
    size = 0
    # Names are told where no row follows, too.
    yield _batch(names, is_header, [], entry)
    for record in records if is_header else chain([first], records):
        problem = record.problem
        if not problem and len(record.row) != len(names):
            problem = f"{len(record.row)} fields, and the first line has {len(names)}"
        elif not problem and not is_text(record.text):
            problem = misread(entry)
        if problem:
            yield Broken(record.line, problem, record.text)
            continue
        some.append(record)
        size += len(record.text)
        if len(some) == ROWS or size > BYTES:
            yield _batch(names, is_header, some, entry)
            some, size = [], 0
    if some:
        yield _batch(names, is_header, some, entry)


def _batch(names: Sequence[str], is_header: bool, records: Sequence[_Record], entry: FilesTable) -> Batch:
    columns = zip(*(record.row for record in records), strict=True) if records else [()] * len(names)
    arrays = {name: pa.array(values, pa.string()) for name, values in zip(names, columns, strict=True)}
    return Batch(
        arrays,
        [record.line for record in records],
        lambda row: records[row].text,
        has_header=is_header,
        comma=entry.decimal == ",",
    )


class _Records:
    """Iterates over the records of lines."""

    def __init__(self, lines: Iterable[str], before: int, delimiter: str, entry: FilesTable) -> None:
        self._lines = iter(lines)
        self._before = before
        """Lines before the next record."""
        self._taken: list[str] = []
        """Lines of the next record, as far as it was read."""
        self._delimiter = delimiter
        self._quote = entry.quote
        self._nulls = None if entry.null is None else frozenset(entry.null)
        self._fields = re.compile(_field(delimiter, self._quote)) if self._quote else None

    def __iter__(self) -> Iterator[_Record]:
        while True:
            reader = _reader(self._tap(), self._delimiter, self._quote)
            try:
                for row in reader:
                    taken, self._taken = self._taken, []
                    line = self._before + 1
                    self._before += len(taken)
                    if row:
                        yield self._record(line, "".join(taken) if len(taken) > 1 else taken[0], row)
                return
            except csv.Error as error:
                yield self._broken(str(error))

    def _tap(self) -> Iterator[str]:
        for line in self._lines:
            self._taken.append(line)
            yield line

    def _record(self, line: int, text: str, row: list[str]) -> _Record:
        text = text.rstrip("\r\n") if text.endswith(("\r", "\n")) else text
        values: Sequence[str | None] = row
        if self._nulls is not None:
            values = [None if value in self._nulls else value for value in row]
        if self._fields is not None and self._quote in text and ("" in row or self._quote in "".join(row)):
            quoted = self._quoted(text)
            if len(quoted) != len(row):
                return _Record(line, text, (), f"a {self._quote} in a field that does not begin with it; {_QUOTE_CURE}")
            if self._nulls is None:
                values = [value if value or is_quoted else None for value, is_quoted in zip(row, quoted, strict=True)]
        elif self._nulls is None and "" in row:
            values = [value or None for value in row]
        return _Record(line, text, values)

    def _quoted(self, text: str) -> list[bool]:
        """Returns for each field whether it is quoted; empty where a quote stands inside a field that is not."""
        if self._fields is None:
            return []
        found: list[bool] = []
        at = 0
        while match := self._fields.match(text, at):
            found.append(match[1] is not None)
            at = match.end()
            if at == len(text) and not match[2]:
                return found
        return []

    def _broken(self, reason: str) -> _Record:
        """Returns the first line of what was read as broken; the next record begins with the line after it."""
        if not self._taken:
            raise RuntimeError(f"The csv module failed without a line: {reason}")
        text, rest = self._taken[0], self._taken[1:]
        self._taken = []
        self._lines = chain(rest, self._lines)
        self._before += 1
        return _Record(self._before, text.rstrip("\r\n"), (), f"{_REASONS.get(reason, reason)}; {_QUOTE_CURE}")


_QUOTE_CURE = "close the quote, double those inside a field, or say quote: '' in pipeline.yml where quotes mean nothing"
_REASONS = {
    "unexpected end of data": "a quote that is not closed",
    f"field larger than field limit ({_LONGEST_FIELD})": "a quote that is not closed, or a field of more than 16 MB",
}


def _field(delimiter: str, quote: str) -> str:
    q, d = re.escape(quote), re.escape(delimiter)
    return rf"(?:{q}([^{q}]*(?:{q}{q}[^{q}]*)*){q}|[^{d}{q}]*)({d}|\Z)"


def _reader(lines: Iterable[str], delimiter: str, quote: str) -> Iterator[list[str]]:
    csv.field_size_limit(_LONGEST_FIELD)
    if quote:
        return csv.reader(lines, delimiter=delimiter, quotechar=quote, strict=True)
    return csv.reader(lines, delimiter=delimiter, quoting=csv.QUOTE_NONE, strict=True)


def _delimiter(name: str, sample: Sequence[str], entry: FilesTable) -> str:
    """Returns the delimiter that cuts every record of the sample into as many fields, and into the most; the header's where none does."""
    if name.lower().removesuffix(".gz").endswith(".tsv"):
        return "\t"
    counts = {one: _counts(sample, one, entry.quote) for one in _DELIMITERS}
    even = {one: found[0] for one, found in counts.items() if len(set(found)) == 1 and found[0] > 1}
    if even:
        return max(even, key=even.__getitem__)
    return max(_DELIMITERS, key=lambda one: counts[one][0] if counts[one] else 0)


def _counts(sample: Sequence[str], delimiter: str, quote: str) -> list[int]:
    """Returns the fields of each whole record of the sample."""
    found = []
    try:
        for row in _reader(sample, delimiter, quote):
            if row:
                found.append(len(row))
    except csv.Error:
        # The last record is cut, or it is no CSV with this delimiter.
        pass
    return found
