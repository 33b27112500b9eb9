"""JSON lines. Numbers keep their digits, and what is nested is JSON text."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from typing import NoReturn

import pyarrow as pa
from warehouse.errors import TerminalError

from elt.sources.files.batch import BYTES, ROWS, Batch, Broken
from elt.sources.files.folder import HashedFile
from elt.sources.files.inference import BOOL, DATE, DECIMAL, INSTANT, INTEGER, WALL_CLOCK
from elt.sources.files.options import FilesTable
from elt.sources.files.readers.text import LONGEST_LINE, is_text, misread, opened_text, too_long

_MOST_COLUMNS = 1000


class Number(str):
    """A number as the file writes it."""

    __slots__ = ()


_HINTS: dict[type, frozenset[str]] = {
    bool: frozenset({BOOL}),
    Number: frozenset({INTEGER, DECIMAL}),
    # JSON tells numbers from texts, but has neither dates nor times.
    str: frozenset({DATE, WALL_CLOCK, INSTANT}),
    dict: frozenset(),
    list: frozenset(),
}

Row = dict[str, object]


def read_jsonl(name: str, stream: HashedFile, entry: FilesTable) -> Iterator[Batch | Broken]:
    """Yields the objects of a file with one on each line."""
    some: list[tuple[int, str, Row]] = []
    size = 0
    with opened_text(name, stream, entry) as lines:
        for number, line in enumerate(lines, 1):
            if len(line) >= LONGEST_LINE:
                raise too_long(name, number)
            text = line.strip()
            if not text:
                continue
            row = _object(text, entry)
            if isinstance(row, str):
                yield Broken(number, row, text)
                continue
            some.append((number, text, row))
            size += len(text)
            if len(some) == ROWS or size > BYTES:
                yield _batch(name, some)
                some, size = [], 0
    yield _batch(name, some)


def _object(text: str, entry: FilesTable) -> Row | str:
    """Returns the object of a line, or why it is none."""
    if not is_text(text):
        return misread(entry)
    try:
        row = json.loads(text, parse_float=Number, parse_int=Number, parse_constant=_no_number, object_pairs_hook=_once)
    except RecursionError:
        return "nested too deeply"
    except ValueError as error:
        return f"no JSON ({error})"
    if not isinstance(row, dict):
        return "no JSON object; write one object on each line"
    if "\\u" in text and not is_text(_written(row)):
        return "half of a surrogate pair, which is no text"
    return row


def _once(pairs: list[tuple[str, object]]) -> Row:
    row = dict(pairs)
    if len(row) < len(pairs):
        raise ValueError("a key stands twice in one object")
    return row


def _no_number(text: str) -> NoReturn:
    raise ValueError(f"{text} is no number in JSON")


def _batch(name: str, rows: Sequence[tuple[int, str, Row]]) -> Batch:
    names = dict.fromkeys(key for _, _, row in rows for key in row)
    if len(names) > _MOST_COLUMNS:
        raise TerminalError(
            f"{name} has objects of more than {_MOST_COLUMNS} keys; put what varies into an object below one key"
        )
    if "" in names:
        raise TerminalError(f"{name} has an object with an empty key; name it")
    arrays, hints = {}, {}
    for key in names:
        values = [row.get(key) for _, _, row in rows]
        arrays[key] = pa.array([_text(value) for value in values], pa.string())
        kinds = {type(value) for value in values} - {type(None)}
        hints[key] = frozenset.intersection(*(_HINTS[kind] for kind in kinds)) if kinds else frozenset()
    return Batch(arrays, [number for number, _, _ in rows], lambda row: rows[row][1], hints)


def _text(value: object) -> str | None:
    if value is None or isinstance(value, str):
        return value
    return _written(value)


def _written(value: object) -> str:
    """Returns JSON, with numbers as the file writes them."""
    if isinstance(value, Number):
        return value
    if isinstance(value, dict):
        return "{" + ",".join(f"{_written(key)}:{_written(one)}" for key, one in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ",".join(map(_written, value)) + "]"
    return json.dumps(value, ensure_ascii=False)
