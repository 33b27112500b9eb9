"""Parquet by row groups. Its types are those of the columns; what is nested is JSON text."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
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


def read_parquet(name: str, stream: HashedFile, entry: FilesTable) -> Iterator[Batch | Broken]:
    """Yields the rows of a Parquet file, in batches of its row groups. Their lines are the numbers of the rows."""
    try:
        # The same open file whose bytes are hashed afterwards, so that it cannot be replaced in between.
        with (
            os.fdopen(os.dup(stream.descriptor), "rb") as file,
            pq.ParquetFile(file, buffer_size=_BUFFER, pre_buffer=False) as parquet,
        ):
            before = 0
            _check_names(name, parquet.schema_arrow)
            yield _batch(pa.RecordBatch.from_pylist([], parquet.schema_arrow), 0)
            for batch in parquet.iter_batches(ROWS, use_threads=False):
                yield from _whole(batch, before)
                before += batch.num_rows
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


def _whole(batch: pa.RecordBatch, before: int) -> Iterator[Batch | Broken]:
    """Yields the rows whose values can be texts, and the others as broken."""
    problems: dict[int, str] = {}
    for column in batch.schema.names:
        for row in _unheld(batch.column(column)):
            value = _values(batch.column(column).slice(row, 1))[0]
            problems.setdefault(row, f"{column} is {shown(_written(value))}, {_because(batch.column(column).type)}")
    for row, problem in sorted(problems.items()):
        yield Broken(before + row + 1, problem, _row(batch, row))
    kept = [row for row in range(batch.num_rows) if row not in problems]
    yield _batch(batch.take(pa.array(kept, pa.int64())) if problems else batch, before, kept)


def _unheld(values: pa.Array) -> list[int]:
    """Returns the places of values of which a text would lose something."""
    kind = values.type
    if pa.types.is_timestamp(kind) and kind.unit == "ns":
        micros = pc.cast(pc.cast(values, pa.timestamp("us", kind.tz), safe=False), kind)
        lost = pc.fill_null(pc.not_equal(micros, values), False).to_pylist()
        return [row for row, is_lost in enumerate(lost) if is_lost]
    if _is_bytes(kind):
        try:
            pc.cast(values, pa.string())
        except pa.ArrowInvalid:
            return [row for row, value in enumerate(values) if not _is_utf8(value.as_py())]
    return []


def _because(kind: pa.DataType) -> str:
    return "which is not UTF-8; exclude the column" if _is_bytes(kind) else "which has more digits than microseconds"


def _row(batch: pa.RecordBatch, row: int) -> str:
    """Returns a row as JSON."""
    return _json({name: _values(batch.column(name).slice(row, 1))[0] for name in batch.schema.names})


def _values(values: pa.Array) -> list[object]:
    """Returns the values in Python; instants as texts, as Python has no nanoseconds."""
    found: list[object] = (pc.cast(values, pa.string()) if pa.types.is_timestamp(values.type) else values).to_pylist()
    return found


def _is_bytes(kind: pa.DataType) -> bool:
    return bool(pa.types.is_binary(kind) or pa.types.is_large_binary(kind) or pa.types.is_fixed_size_binary(kind))


def _is_utf8(value: bytes | None) -> bool:
    try:
        (value or b"").decode()
    except UnicodeDecodeError:
        return False
    return True


def _batch(batch: pa.RecordBatch, before: int, rows: list[int] | None = None) -> Batch:
    arrays = {name: _texts(batch.column(name)) for name in batch.schema.names}
    hints = {field.name: _hint(field.type) for field in batch.schema}
    lines = [before + row + 1 for row in rows or []]
    return Batch(arrays, lines, lambda row: _row(batch, row), hints, has_schema=True)


def _hint(kind: pa.DataType) -> frozenset[str]:
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


def _texts(values: pa.Array) -> pa.Array:
    """Returns the values as texts, exactly."""
    kind = values.type
    if pa.types.is_dictionary(kind):
        return _texts(values.dictionary_decode())
    if pa.types.is_decimal(kind):
        texts = pc.cast(values, pa.string())
        if pc.any(pc.match_substring(texts, "E")).as_py():
            return pa.array(
                [None if value is None else format(value, "f") for value in values.to_pylist()], pa.string()
            )
        return texts
    if pa.types.is_floating(kind):
        return pc.cast(pc.cast(values, pa.float64()), pa.string())
    if pa.types.is_timestamp(kind):
        micros = pc.cast(values, pa.timestamp("us", kind.tz), safe=kind.unit != "ns")
        if kind.tz is None:
            return pc.cast(micros, pa.string())
        texts = pc.cast(pc.cast(micros, pa.timestamp("us")), pa.string())
        return pc.binary_join_element_wise(texts, "Z", "")
    if pa.types.is_date(kind):
        return pc.cast(pc.cast(values, pa.date32()), pa.string())
    if pa.types.is_nested(kind):
        return pa.array([None if value is None else _json(value) for value in values.to_pylist()], pa.string())
    return pc.cast(values, pa.string())


def _json(value: object) -> str:
    return json.dumps(value, ensure_ascii=False, default=_written)


def _written(value: object) -> str:
    """Returns the text of a value that JSON does not have."""
    if isinstance(value, bytes):
        return value.decode(errors="backslashreplace")
    return value.isoformat() if isinstance(value, date | datetime | time) else str(value)
