"""Names of columns from the first line of a file."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence

from warehouse.errors import TerminalError

from elt.sources.files.batch import printable

_VALUE = re.compile(r"[+-]?[0-9.,]+(?:[eE%][+-]?[0-9]*)?|\d{4}-\d{2}-\d{2}.*|true|false", re.IGNORECASE)


def column_names(file: str, line: int, row: Sequence[str | None], header: bool | None) -> tuple[tuple[str, ...], bool]:
    """Returns the names of the columns, and whether the line is a header; it is where none of its fields is a number, a date or a boolean.

    Raises TerminalError where a name is missing or stands twice.
    """
    is_header = header if header is not None else not any(value and _VALUE.fullmatch(value) for value in row)
    if not is_header:
        return tuple(f"column_{number}" for number in range(1, len(row) + 1)), False
    names = tuple(value or "" for value in row)
    if "" in names:
        raise TerminalError(
            f"{file}, line {line}: column {names.index('') + 1} of the header has no name; name it, or say header: false in pipeline.yml"
        )
    if twice := [name for name, count in Counter(names).items() if count > 1]:
        raise TerminalError(
            f"{file}, line {line}: {', '.join(map(printable, twice))} stands twice in the header; rename one, or say header: false in pipeline.yml"
        )
    return names, True
