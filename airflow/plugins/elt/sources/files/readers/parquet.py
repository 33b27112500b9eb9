"""Parquet by row groups. Its types are those of the columns; what is nested is JSON text."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator
from contextlib import suppress
from datetime import date, datetime, time

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from warehouse.errors import TerminalError

from elt.sources.files.batch import ROWS, Batch, Broken, shown
from elt.sources.files.folder import HashedFile
from elt.sources.files.inference import BOOL, DATE, DECIMAL, FLOAT, INSTANT, INTEGER, WALL_CLOCK
from elt.sources.files.options import FilesTable

_BUFFER = 1 << 20
"""Bytes of a column that are read at once; without it, and with pre_buffer, all of a row group are."""
_TEXT: frozenset[str] = frozenset()
_NO_TEXT = "<value out of range"
"""Begins the text that Arrow writes for a time whose year it cannot write."""

Problems = dict[int, str]
"""Values that cannot be copied exactly: why, as a clause that begins with the value, by row."""


def read_parquet(name: str, stream: HashedFile, entry: FilesTable) -> Iterator[Batch | Broken]:
    """Yields the rows of a Parquet file, in batches of its row groups. Their lines are the numbers of the rows.

    Nothing of excluded columns is read: theirs are NULL.
    """
    before = 0
    for batch, excluded in _record_batches(name, stream, entry):
        yield from _whole(batch, before, excluded)
        before += batch.num_rows


def _record_batches(name: str, stream: HashedFile, entry: FilesTable) -> Iterator[tuple[pa.RecordBatch, list[str]]]:
    """Yields the columns that are not excluded, first without any row, and the names of those that are."""
    try:
        # The same open file whose bytes are hashed afterwards, so that it cannot be replaced in between.
        with (
            os.fdopen(os.dup(stream.descriptor), "rb") as file,
            pq.ParquetFile(file, buffer_size=_BUFFER, pre_buffer=False) as parquet,
        ):
            schema = parquet.schema_arrow
            _check_names(name, schema)
            kept = [column for column in schema.names if column not in entry.exclude]
            excluded = [column for column in schema.names if column in entry.exclude]
            yield pa.record_batch({column: pa.nulls(0, schema.field(column).type) for column in kept}), excluded
            for batch in parquet.iter_batches(ROWS, columns=kept, use_threads=False):
                # A name in `columns` selects those that begin with it and a dot, too.
                yield batch.select(kept), excluded
            os.lseek(stream.descriptor, 0, os.SEEK_SET)
    except pa.ArrowInvalid as error:
        raise TerminalError(f"{name} is no Parquet file that can be read ({error}); write it again") from None


def _check_names(name: str, schema: pa.Schema) -> None:
    if twice := sorted({one for one in schema.names if schema.names.count(one) > 1}):
        raise TerminalError(
            f"{name}: {', '.join(twice)} stands twice among the columns; rename one and write the file again"
        )
    if "" in schema.names:
        raise TerminalError(
            f"{name}: column {schema.names.index('') + 1} has no name; name it and write the file again"
        )


def _whole(batch: pa.RecordBatch, before: int, excluded: list[str]) -> Iterator[Batch | Broken]:
    """Yields the rows whose values can be texts, and the others as broken."""
    columns: dict[str, pa.Array] = {}
    problems: Problems = {}
    for name in batch.schema.names:
        columns[name], unheld = _texts(batch.column(name))
        for row, problem in unheld.items():
            problems.setdefault(row, f"{name} is {problem}")
    columns |= {name: pa.nulls(batch.num_rows, pa.string()) for name in excluded}
    hints = {field.name: _hint(field.type) for field in batch.schema}
    lines = range(before + 1, before + batch.num_rows + 1)
    whole = Batch(columns, lines, lambda row: _row(batch, row), hints, has_schema=True)
    for row, problem in sorted(problems.items()):
        yield Broken(lines[row], problem, _row(batch, row))
    yield whole.without(problems) if problems else whole


def _row(batch: pa.RecordBatch, row: int) -> str:
    """Returns a row as JSON."""
    return _json({name: _python(batch.column(name)[row]) for name in batch.schema.names})


def _is_bytes(kind: pa.DataType) -> bool:
    of_bytes = (pa.types.is_binary, pa.types.is_large_binary, pa.types.is_fixed_size_binary, pa.types.is_binary_view)
    return any(is_one(kind) for is_one in of_bytes)


def _hint(kind: pa.DataType) -> frozenset[str]:
    if isinstance(kind, pa.BaseExtensionType):
        return _TEXT if isinstance(kind, pa.UuidType) else _hint(kind.storage_type)
    if pa.types.is_dictionary(kind):
        return _hint(kind.value_type)
    if pa.types.is_boolean(kind):
        return frozenset({BOOL})
    if pa.types.is_integer(kind):
        return frozenset({INTEGER, DECIMAL})
    if pa.types.is_decimal(kind):
        return frozenset({DECIMAL})
    if pa.types.is_floating(kind):
        return frozenset({FLOAT})
    if pa.types.is_date(kind):
        return frozenset({DATE, WALL_CLOCK})
    if pa.types.is_timestamp(kind):
        return frozenset({WALL_CLOCK} if kind.tz is None else {INSTANT})
    return _TEXT


def _texts(values: pa.Array) -> tuple[pa.Array, Problems]:
    """Returns the values as texts, exactly, and those of which a text would lose something; their texts are of no use."""
    kind = values.type
    if isinstance(kind, pa.BaseExtensionType):
        return (_each(values, str), {}) if isinstance(kind, pa.UuidType) else _texts(values.storage)
    if pa.types.is_dictionary(kind):
        return _texts(values.dictionary_decode())
    if pa.types.is_timestamp(kind):
        return _timestamps(values)
    if pa.types.is_date(kind):
        return _written_times(pc.cast(pc.cast(values, pa.date32()), pa.string()))
    if _is_bytes(kind):
        return _bytes(values)
    if pa.types.is_decimal(kind):
        texts = pc.cast(values, pa.string())
        has_exponent = pc.any(pc.match_substring(texts, "E")).as_py()
        return _each(values, lambda value: format(value, "f")) if has_exponent else texts, {}
    if pa.types.is_floating(kind):
        return pc.cast(pc.cast(values, pa.float64()), pa.string()), {}
    if pa.types.is_nested(kind):
        return pa.array([None if value is None else _json(value) for value in _pythons(values)], pa.string()), {}
    return pc.cast(values, pa.string()), {}


def _each(values: pa.Array, text: Callable[[object], str]) -> pa.Array:
    return pa.array([None if value is None else text(value) for value in values.to_pylist()], pa.string())


def _timestamps(values: pa.Array) -> tuple[pa.Array, Problems]:
    kind = values.type
    micros = pc.cast(values, pa.timestamp("us", kind.tz), safe=False)
    lost = pc.fill_null(pc.not_equal(pc.cast(micros, kind, safe=False), values), False)
    texts, problems = _written_times(pc.cast(pc.cast(micros, pa.timestamp("us")), pa.string()))
    if pc.any(lost).as_py():
        because = "has more digits than microseconds" if kind.unit == "ns" else "is too far away for microseconds"
        for row in pc.indices_nonzero(lost).to_pylist():
            problems[row] = f"{shown(_time_text(values[row]))}, which {because}"
    return texts if kind.tz is None else pc.binary_join_element_wise(texts, "Z", ""), problems


def _written_times(texts: pa.Array) -> tuple[pa.Array, Problems]:
    """Returns the texts of times, and those that Arrow could not write."""
    far = pc.fill_null(pc.starts_with(texts, _NO_TEXT), False)
    if not pc.any(far).as_py():
        return texts, {}
    rows = pc.indices_nonzero(far).to_pylist()
    return texts, {row: f"{shown(texts[row].as_py())}, which is in a year that cannot be written" for row in rows}


def _bytes(values: pa.Array) -> tuple[pa.Array, Problems]:
    try:
        return pc.cast(values, pa.string()), {}
    except pa.ArrowInvalid:
        found = values.to_pylist()
    texts = [None if value is None else value.decode(errors="backslashreplace") for value in found]
    problems = {
        row: f"{shown(text)}, which is not UTF-8; exclude the column"
        for row, (value, text) in enumerate(zip(found, texts, strict=True))
        if text is not None and text.encode() != value
    }
    return pa.array(texts, pa.string()), problems


def _pythons(values: pa.Array) -> list[object]:
    """As `_python`, and fast where Python holds all of the values."""
    if "[ns" not in str(values.type):
        with suppress(ValueError, OverflowError):
            return list(values.to_pylist())
    return [_python(value) for value in values]


def _python(value: pa.Scalar) -> object:
    """Returns a value for JSON; times of nanoseconds, and those that Python cannot hold, are texts."""
    if not value.is_valid:
        return None
    if isinstance(value, pa.StructScalar):
        return {name: _python(one) for name, one in value.items()}
    if isinstance(value, pa.ListScalar) and not isinstance(value, pa.MapScalar):
        return [_python(one) for one in value.values]
    if isinstance(value, pa.MapScalar):
        return [[_python(one) for one in pair.values()] for pair in value.values]
    if getattr(value.type, "unit", None) == "ns":
        return _time_text(value)
    try:
        found: object = value.as_py()
    except (ValueError, OverflowError):
        return _time_text(value)
    return found


def _time_text(value: pa.Scalar) -> str:
    """Returns a time of any unit; an instant in UTC."""
    kind = value.type
    if not pa.types.is_timestamp(kind):
        return str(pc.cast(value, pa.string()).as_py())
    return f"{pc.cast(pc.cast(value, pa.timestamp(kind.unit)), pa.string()).as_py()}{'Z' if kind.tz else ''}"


def _json(value: object) -> str:
    return json.dumps(value, ensure_ascii=False, default=_written)


def _written(value: object) -> str:
    """Returns the text of a value that JSON does not have."""
    if isinstance(value, bytes):
        return value.decode(errors="backslashreplace")
    return value.isoformat() if isinstance(value, date | datetime | time) else str(value)
