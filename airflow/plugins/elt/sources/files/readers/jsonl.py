"""JSON lines. Numbers keep their digits, and what is nested is JSON text."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator, Sequence
from typing import cast

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


class Nested(str):
    """An object or an array as JSON."""

    __slots__ = ()


class NoNumber(str):
    """NaN or an infinity, which JSON does not have."""

    __slots__ = ()


class Twice(dict[str, object]):
    """An object in which keys stand twice."""

    def __init__(self, pairs: Sequence[tuple[str, object]]) -> None:
        super().__init__(pairs)
        self.keys_twice = [key for key, count in Counter(key for key, _ in pairs).items() if count > 1]


_HINTS: dict[type, frozenset[str]] = {
    bool: frozenset({BOOL}),
    Number: frozenset({INTEGER, DECIMAL}),
    # JSON tells numbers from texts, but has neither dates nor times.
    str: frozenset({DATE, WALL_CLOCK, INSTANT}),
    Nested: frozenset(),
}

Row = dict[str, bool | str | None]


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
    """Returns the object of a line, in which excluded columns are NULL, or why it is none."""
    try:
        found = json.loads(
            text, parse_float=Number, parse_int=Number, parse_constant=NoNumber, object_pairs_hook=_pairs
        )
    except RecursionError:
        return "nested too deeply"
    except ValueError as error:
        return f"no JSON ({error})" if is_text(text) else misread(entry)
    if not isinstance(found, dict):
        return "no JSON object; write one object on each line"
    if isinstance(found, Twice) and (twice := [key for key in found.keys_twice if key not in entry.exclude]):
        return f"{_shown(twice[0])} stands twice in the object"
    row: Row = {}
    for key, value in found.items():
        try:
            row[key] = None if key in entry.exclude else _value(value)
        except RecursionError:
            return f"{_shown(key)} is nested too deeply"
        except ValueError as error:
            return f"{_shown(key)} {error}"
    if "\\u" in text or not text.isascii():
        for key, value in row.items():
            if not is_text(key) or (isinstance(value, str) and not is_text(value)):
                return (
                    f"{_shown(key)} has half of a surrogate pair, which is no text" if is_text(text) else misread(entry)
                )
    return row


def _pairs(pairs: list[tuple[str, object]]) -> dict[str, object]:
    row = dict(pairs)
    return row if len(row) == len(pairs) else Twice(pairs)


def _value(value: object) -> bool | str | None:
    """Returns a value with what is nested as text. Raises ValueError, as a clause, for what JSON does not have."""
    if isinstance(value, dict | list):
        return Nested(_written(value))
    if isinstance(value, NoNumber):
        raise ValueError(f"is {value}, which is no number in JSON")
    return cast(bool | str | None, value)


def _shown(key: str) -> str:
    """Returns a key, which may be no text, as a message has it."""
    return key.encode(errors="backslashreplace").decode()


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


def _text(value: bool | str | None) -> str | None:
    return ("true" if value else "false") if isinstance(value, bool) else value


def _written(value: object) -> str:
    """Returns JSON, with numbers as the file writes them. Raises ValueError, as a clause, for what JSON does not have."""
    if isinstance(value, Number):
        return value
    if isinstance(value, Twice):
        raise ValueError("has an object in which a key stands twice")
    if isinstance(value, NoNumber):
        raise ValueError(f"has {value}, which is no number in JSON")
    if isinstance(value, dict):
        return "{" + ",".join(f"{_written(key)}:{_written(one)}" for key, one in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ",".join(map(_written, value)) + "]"
    return json.dumps(value, ensure_ascii=False)
