"""Types of columns from all of their values: the narrowest that holds every one exactly."""

from __future__ import annotations

from dataclasses import dataclass, field

import pyarrow as pa
import pyarrow.compute as pc

from elt.mapping import WIDEST_DECIMAL, YearRange
from elt.sources.files import kinds
from elt.sources.files.type_names import INSTANT as INSTANT_TYPE

BOOL, INTEGER, DECIMAL, DATE, WALL_CLOCK, INSTANT, FLOAT = (
    "bool",
    "integer",
    "decimal",
    "date",
    "time",
    "instant",
    "float",
)
FOUND_IN_TEXT = frozenset({BOOL, INTEGER, DECIMAL, DATE, WALL_CLOCK, INSTANT})
"""Types that a text may stand for. A float is none: its text may be money."""
_TEXTS = {
    BOOL: kinds.BOOL_TEXT,
    INTEGER: kinds.INTEGER_TEXT,
    DECIMAL: kinds.DECIMAL_TEXT,
    DATE: kinds.DATE_TEXT,
    WALL_CLOCK: kinds.WALL_CLOCK_TEXT,
    INSTANT: kinds.INSTANT_TEXT,
}
_PRECISIONS = (18, 38, WIDEST_DECIMAL)
"""Steps of a Decimal's precision, so that its type stays when a larger number comes."""
_NUMBERS = (INTEGER, DECIMAL)


@dataclass
class Column:
    """Everything that is known of the values of one column."""

    possible: set[str] = field(default_factory=lambda: {*FOUND_IN_TEXT, FLOAT})
    values: int = 0
    nulls: int = 0
    has_schema: bool = False
    digits: int = 0
    """The most digits before a decimal point."""
    places: int = 0
    """The most digits after it."""

    def see(
        self, texts: pa.Array, hint: frozenset[str] | None, *, has_schema: bool, comma: bool, years: YearRange
    ) -> None:
        """Takes note of some values. `hint` has the types that they may have; those that a text may stand for if None."""
        self.nulls += texts.null_count
        self.has_schema = self.has_schema or has_schema
        given = texts.drop_null() if texts.null_count else texts
        self.values += len(given)
        if len(given) or has_schema:
            self.possible &= FOUND_IN_TEXT if hint is None else hint
        if not len(given) or not self.possible:
            return
        points = kinds.swapped(given) if comma and self.possible.intersection(_NUMBERS) else given
        for name in sorted(self.possible - {FLOAT}):
            if not self._holds(name, points if name in _NUMBERS else given, years):
                self.possible.discard(name)

    def _holds(self, name: str, texts: pa.Array, years: YearRange) -> bool:
        if not pc.all(pc.match_substring_regex(texts, _TEXTS[name])).as_py():
            return False
        if name == DECIMAL:
            digits, places = kinds.decimal_digits(texts, with_zeros=True)
            self.digits, self.places = max(self.digits, digits), max(self.places, places)
            return True
        return name == BOOL or kinds.Kind(_KINDS[name], years).holds_all(texts)

    def kind(self) -> str:
        """Returns the ClickHouse type, without Nullable."""
        if not self.values and not self.has_schema:
            return "String"
        for name in (BOOL, INTEGER, DATE, WALL_CLOCK, INSTANT, FLOAT):
            if name in self.possible:
                return _KINDS[name]
        precision = next((p for p in _PRECISIONS if self.digits + self.places <= p), None)
        return f"Decimal({precision}, {self.places})" if DECIMAL in self.possible and precision else "String"


_KINDS = {
    BOOL: "Bool",
    INTEGER: "Int64",
    DATE: "Date32",
    WALL_CLOCK: INSTANT_TYPE,
    INSTANT: INSTANT_TYPE,
    FLOAT: "Float64",
}
