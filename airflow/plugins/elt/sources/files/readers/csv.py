"""CSV as Python's csv module reads it in its strict mode, with the line of each record and the quotes that it does not tell."""

from __future__ import annotations

import csv
import re
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from itertools import chain, islice

import pyarrow as pa
from warehouse.errors import TerminalError

from elt.sources.files.batch import BYTES, ROWS, Batch, Broken
from elt.sources.files.folder import HashedFile
from elt.sources.files.header import column_names
from elt.sources.files.options import PACKED, FilesTable
from elt.sources.files.readers.text import LONGEST_LINE, is_text, misread, opened_text, too_long

_LONGEST_FIELD = 16 << 20
"""Characters. A quote that is never closed would otherwise take a whole file into memory."""
_DELIMITERS = ";\t|,"
"""The first ones first: a comma stands in texts, too."""
_SAMPLE = 20
"""Lines by which the delimiter is found."""

_Record = tuple[int, str, Sequence[str | None], str]
"""First line, text, fields, and why it is no record; empty if it is one. Tuples, of which a million are cheap."""


def read_csv(name: str, stream: HashedFile, entry: FilesTable) -> Iterator[Batch | Broken]:
    """Yields the records of a CSV file."""
    with opened_text(name, stream, entry) as lines:
        for _ in islice(lines, entry.skip):
            pass
        sample = list(islice(lines, _SAMPLE))
        delimiter = entry.delimiter or _delimiter(name, sample, entry)
        records = _Records(name, chain(sample, lines), entry.skip, delimiter, entry)
        yield from _batches(name, records, delimiter, entry)


def _batches(name: str, found: Iterable[_Record], delimiter: str, entry: FilesTable) -> Iterator[Batch | Broken]:
    records = iter(found)
    first = next(records, None)
    if first is None:
        return
    line, text, row, problem = first
    names, is_header = ((), True) if problem else column_names(name, line, row, entry.header)
    if problem := problem or (misread(entry) if is_header and not is_text(text) else ""):
        raise TerminalError(f"{name}, line {line}, the first one: {problem}")
    # Names are told where no row follows, too.
    yield _batch(names, is_header, [], entry)
    for some in _pieces(records if is_header else chain([first], records)):
        broken = [record for record in some if record[3]]
        good = [record for record in some if not record[3]] if broken else some
        width = len(names)
        if any(len(record[2]) != width for record in good):
            expected = f"fields between {delimiter!r} where {width} are expected"
            broken += [(*r[:3], f"{len(r[2])} {expected}") for r in good if len(r[2]) != width]
            good = [record for record in good if len(record[2]) == width]
        try:
            batch = _batch(names, is_header, good, entry)
        except UnicodeEncodeError:
            kept = [place for place, column in enumerate(names) if column not in entry.exclude]
            texts = [all(is_text(record[2][place] or "") for place in kept) for record in good]
            broken += [(*record[:3], misread(entry)) for record, ok in zip(good, texts, strict=True) if not ok]
            batch = _batch(names, is_header, [record for record, ok in zip(good, texts, strict=True) if ok], entry)
        for line, text, _, problem in sorted(broken, key=lambda record: record[0]):
            yield Broken(line, problem, text)
        yield batch


def _pieces(records: Iterator[_Record]) -> Iterator[list[_Record]]:
    """Yields the records in pieces of a batch."""
    some: list[_Record] = []
    size = 0
    for record in records:
        some.append(record)
        size += len(record[1])
        if len(some) == ROWS or size > BYTES:
            yield some
            some, size = [], 0
    if some:
        yield some


def _batch(names: Sequence[str], is_header: bool, records: Sequence[_Record], entry: FilesTable) -> Batch:
    columns = zip(*(record[2] for record in records), strict=True) if records else [()] * len(names)
    return Batch(
        {
            name: pa.nulls(len(records), pa.string()) if name in entry.exclude else pa.array(values, pa.string())
            for name, values in zip(names, columns, strict=True)
        },
        [record[0] for record in records],
        lambda row: records[row][1],
        has_header=is_header,
        comma=entry.decimal == ",",
    )


class _Records:
    """Iterates over the records of lines."""

    def __init__(self, name: str, lines: Iterable[str], before: int, delimiter: str, entry: FilesTable) -> None:
        self._name = name
        self._lines = iter(lines)
        self._before = before
        """Lines before the next record."""
        self._taken: list[str] = []
        """Lines of the next record, as far as it was read."""
        self._delimiter = delimiter
        self._quote = entry.quote
        self._nulls = None if entry.nulls is None else frozenset(entry.nulls)
        self._field = re.compile(_field(delimiter, self._quote)) if self._quote else None

    def __iter__(self) -> Iterator[_Record]:
        reader = _reader(self._tap(), self._delimiter, self._quote)
        while True:
            try:
                for row in reader:
                    taken, self._taken = self._taken, []
                    line = self._before + 1
                    self._before += len(taken)
                    # An empty line is no record.
                    if row:
                        text = (taken[0] if len(taken) == 1 else "".join(taken)).rstrip("\r\n")
                        yield self._with_nulls(line, text, row)
                return
            except csv.Error as error:
                yield self._broken(str(error))
                reader = _reader(self._tap(), self._delimiter, self._quote)

    def _tap(self) -> Iterator[str]:
        for line in self._lines:
            if len(line) >= LONGEST_LINE:
                raise too_long(self._name, self._before + len(self._taken) + 1)
            self._taken.append(line)
            yield line

    def _with_nulls(self, line: int, text: str, row: list[str]) -> _Record:
        """Returns the record with None for NULL; broken where a quote stands inside a field that is not quoted."""
        nulls = self._nulls
        is_quoted: Sequence[bool] = ()
        if self._field is not None and self._quote in text and ("" in row or self._quote in "".join(row)):
            # The csv module tells neither which fields are quoted, nor that a quote stands where none may be.
            is_quoted = self._quoted(self._field, text)
            if len(is_quoted) != len(row):
                return line, text, (), f"a {self._quote} in a field that does not begin with it; {_QUOTE_CURE}"
        if nulls is not None:
            return line, text, [None if value in nulls else value for value in row], ""
        if "" not in row:
            return line, text, row, ""
        if is_quoted:
            return line, text, [v if v or quoted else None for v, quoted in zip(row, is_quoted, strict=True)], ""
        return line, text, [value or None for value in row], ""

    @staticmethod
    def _quoted(field: re.Pattern[str], text: str) -> list[bool]:
        """Returns for each field whether it is quoted; nothing where a quote stands inside a field that is not."""
        found: list[bool] = []
        at = 0
        while match := field.match(text, at):
            found.append(match[1] is not None)
            if not match[2]:
                return found
            at = match.end()
        return []

    def _broken(self, reason: str) -> _Record:
        """Returns the first line of what was read as broken; the next record begins with the line after it."""
        text, rest = self._taken[0], self._taken[1:]
        self._taken = []
        self._lines = chain(rest, self._lines)
        self._before += 1
        return self._before, text.rstrip("\r\n"), (), f"{_REASONS.get(reason, reason)}; {_QUOTE_CURE}"


_QUOTE_CURE = "close the quote, double those inside a field, or say quote: '' in pipeline.yml where quotes mean nothing"
_REASONS = {
    "unexpected end of data": "a quote that is not closed",
    f"field larger than field limit ({_LONGEST_FIELD})": "a quote that is not closed, or a field of more than 16 MB",
}


def _field(delimiter: str, quote: str) -> str:
    """Returns a pattern for one field: what is between its quotes, if it has some, and the delimiter after it."""
    q, d = re.escape(quote), re.escape(delimiter)
    return rf"(?:{q}([^{q}]*(?:{q}{q}[^{q}]*)*){q}|[^{d}{q}]*)({d}|\Z)"


def _reader(lines: Iterable[str], delimiter: str, quote: str, *, strict: bool = True) -> Iterator[list[str]]:
    csv.field_size_limit(_LONGEST_FIELD)
    if quote:
        return csv.reader(lines, delimiter=delimiter, quotechar=quote, strict=strict)
    return csv.reader(lines, delimiter=delimiter, quoting=csv.QUOTE_NONE, strict=strict)


def _delimiter(name: str, sample: Sequence[str], entry: FilesTable) -> str:
    """Returns the delimiter that cuts the records of the sample into the most fields, and each into as many.

    Where none does, it is the one that cuts the first record into the most, so that the others are told as broken. Where none cuts the first
    record, it is one that stands in no other record either.
    """
    if name.lower().removesuffix(PACKED).endswith(".tsv"):
        return "\t"
    counts = {one: _counts(sample, one, entry.quote) or [1] for one in _DELIMITERS}
    even = {one: found[0] for one, found in counts.items() if len(set(found)) == 1}
    several = {one: found[0] for one, found in counts.items() if found[0] > 1}
    best = several.keys() & even.keys() or several.keys() or even.keys() or {","}
    return max((one for one in _DELIMITERS if one in best), key=lambda one: counts[one][0])


def _counts(sample: Sequence[str], delimiter: str, quote: str) -> list[int]:
    """Returns the fields of each record of the sample, except for the last one where it may be cut."""
    found = []
    with suppress(csv.Error):
        # A field that is too long is told when it is read.
        for row in _reader(sample, delimiter, quote, strict=False):
            found += [len(row)] if row else []
    return found[:-1] if len(sample) == _SAMPLE else found
