"""Rows of a file as its reader gives them: columns of texts, and lines that cannot be read."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace

import pyarrow as pa

ROWS = 2048
"""Rows of a batch, at most; more of them leave the processor's cache."""
BYTES = 8 << 20
"""Bytes of text after which a batch ends, about."""
_SHOWN = 100


@dataclass(frozen=True)
class Broken:
    """A line that is no row."""

    line: int
    """Line of the file; number of the row where the format has no lines."""
    reason: str
    """Column, value and the reason, as a clause."""
    text: str
    """The line, or its beginning."""


@dataclass(frozen=True)
class Batch:
    """Some rows of a file."""

    columns: Mapping[str, pa.Array]
    """Texts by column; NULL where a value is missing. An excluded column is all NULL, as nothing of it is looked at."""
    lines: Sequence[int]
    """Line of each row."""
    text: Callable[[int], str]
    """Returns the line of a row."""
    hints: Mapping[str, frozenset[str]] = field(default_factory=dict)
    """Types that the values of a column may have (elt.sources.files.inference), where the format tells."""
    has_schema: bool = False
    """Whether hints hold for columns without any value, too."""
    has_header: bool = True
    """Whether the file names its columns."""
    comma: bool = False
    """Whether the decimal point is a comma."""

    def without(self, rows: Collection[int]) -> Batch:
        """Returns the batch without some of its rows."""
        kept = [row for row in range(len(self.lines)) if row not in rows]
        places = pa.array(kept, pa.int64())
        columns = {name: texts.take(places) for name, texts in self.columns.items()}
        return replace(
            self, columns=columns, lines=[self.lines[r] for r in kept], text=lambda row: self.text(kept[row])
        )


def printable(text: str) -> str:
    """Returns a text whose bytes that were not of the encoding are written as \\xNN."""
    return text.encode(errors="surrogateescape").decode(errors="backslashreplace")


def shown(value: str) -> str:
    """Returns a value as a message has it."""
    plain = printable(value)
    return repr(plain if len(plain) <= _SHOWN else f"{plain[:_SHOWN]}..")
