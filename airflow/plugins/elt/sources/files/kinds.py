"""ClickHouse types of the columns of files: which texts each holds exactly, and how they are sent.

Columns are Arrow arrays of texts, so that a million values are checked without a million Python calls.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date

import pyarrow as pa
import pyarrow.compute as pc

from elt.mapping import YearRange
from elt.sources.files.type_names import INSTANT, precision_and_scale

INTEGER_TEXT = r"^-?(?:0|[1-9][0-9]*)$"
DECIMAL_TEXT = r"^-?(?:(?:0|[1-9][0-9]*)(?:\.[0-9]+)?|\.[0-9]+)$"
BOOL_TEXT = "^(?:true|false|True|False|TRUE|FALSE)$"
DATE_TEXT = "^[0-9]{4}-[0-9]{2}-[0-9]{2}$"
_CLOCK = r"[0-9]{2}:[0-9]{2}(?::[0-9]{2}(?:\.[0-9]{1,6}0*)?)?"
_OFFSET = "(?:Z|[+-][0-9]{2}(?::?[0-9]{2})?)"
WALL_CLOCK_TEXT = f"^[0-9]{{4}}-[0-9]{{2}}-[0-9]{{2}}(?:[T ]{_CLOCK})?$"
INSTANT_TEXT = f"^[0-9]{{4}}-[0-9]{{2}}-[0-9]{{2}}[T ]{_CLOCK}{_OFFSET}$"

_MICROSECOND = pa.timestamp("us")
_MICROSECOND_UTC = pa.timestamp("us", "UTC")
_EPOCH = date(1970, 1, 1)
_DAY, _LONGEST_WALL_CLOCK = len("2026-01-01"), len("2026-01-01 00:00:00.000000")


@dataclass(frozen=True)
class Kind:
    """A type of ClickHouse."""

    name: str
    """Without Nullable."""
    years: YearRange
    """Years that the warehouse stores."""

    def fits(self, texts: pa.Array) -> pa.Array:
        """Returns for each text whether the type holds it exactly; true for NULL."""
        held = pc.fill_null(self._looks_right(texts), True)
        if self.name in ("Date32", INSTANT) or self.name.startswith(("Int", "Decimal")):
            held = self._in_range(texts, held)
        return held

    def wire(self, texts: pa.Array) -> pa.Array:
        """Returns the texts, all of which fit, as ClickHouse reads them in TabSeparated."""
        if self.name == "String":
            return escaped(texts)
        if self.name == "Bool":
            return pc.if_else(pc.match_substring_regex(texts, _TRUE), "t", "f")
        if self.name == INSTANT:
            return pc.cast(pc.cast(_micros(texts), _MICROSECOND), pa.string())
        return texts

    def _looks_right(self, texts: pa.Array) -> pa.Array:
        if self.name == "String":
            return pa.repeat(pa.scalar(True), len(texts))
        return pc.match_substring_regex(texts, _TOLD["Decimal" if self.name.startswith("Decimal") else self.name])

    def _in_range(self, texts: pa.Array, held: pa.Array) -> pa.Array:
        """Returns `held` without texts of the right form that the type does not hold, such as the 30th of February."""
        right = pc.filter(texts, held)
        if self.holds_all(right):
            return held
        return pa.array([bool(ok) and (text is None or self._holds(text)) for ok, text in _pairs(held, texts)])

    def holds_all(self, texts: pa.Array) -> bool:
        """Whether the type holds all texts, which have its form."""
        try:
            if self.name == "Date32":
                return within(pc.cast(texts, pa.date32()), self.years)
            if self.name == INSTANT:
                return within(_micros(texts), self.years)
            if self.name == "Int64":
                pc.cast(pc.replace_substring_regex(texts, r"^\+", ""), pa.int64())
                return True
        except pa.ArrowInvalid:
            return False
        precision, scale = precision_and_scale(self.name)
        digits, places = decimal_digits(texts)
        return digits <= precision - scale and places <= scale

    def _holds(self, text: str) -> bool:
        return self.holds_all(pa.array([text]))


_TRUE = "(?i)^(?:true|t|yes|1)$"
_TOLD = {
    "Bool": "(?i)^(?:true|t|yes|1|false|f|no|0)$",
    "Int64": r"^[+-]?[0-9]+$",
    "Decimal": r"^[+-]?(?:[0-9]+(?:\.[0-9]*)?|\.[0-9]+)$",
    "Float64": r"(?i)^[+-]?(?:(?:[0-9]+(?:\.[0-9]*)?|\.[0-9]+)(?:e[+-]?[0-9]+)?|inf|nan)$",
    "Date32": DATE_TEXT,
    INSTANT: f"^[0-9]{{4}}-[0-9]{{2}}-[0-9]{{2}}(?:[T ]{_CLOCK}{_OFFSET}?)?$",
}
"""Texts that a type takes where `types:` names it: more than those from which it is inferred."""


def decimal_digits(texts: pa.Array, *, with_zeros: bool = False) -> tuple[int, int]:
    """Returns the most digits before the point, and the most after it, of decimal texts; `with_zeros` counts those at the end, too."""
    plain = pc.utf8_ltrim(texts, "+-0")
    dots = pc.find_substring(plain, ".")
    lengths = pc.binary_length(plain)
    has_dot = pc.greater_equal(dots, 0)
    before = pc.max(pc.if_else(has_dot, dots, lengths)).as_py() or 0
    places = 0
    if pc.any(has_dot).as_py():
        pointed = pc.filter(plain, has_dot)
        trimmed = pointed if with_zeros else pc.utf8_rtrim(pointed, "0")
        after = pc.subtract(pc.subtract(pc.binary_length(trimmed), pc.find_substring(trimmed, ".")), 1)
        places = pc.max(after).as_py() or 0
    return before, places


def within(times: pa.Array, years: YearRange) -> bool:
    """Whether all dates or instants are in the years."""
    bounds = pc.min_max(pc.cast(times, pa.int32()) if pa.types.is_date32(times.type) else pc.cast(times, pa.int64()))
    low, high = bounds["min"].as_py(), bounds["max"].as_py()
    unit = 1 if pa.types.is_date32(times.type) else 86_400_000_000
    first, end = _days(years)
    return low is None or (low >= first * unit and high < end * unit)


def _days(years: YearRange) -> tuple[int, int]:
    """Returns the first day, and the day after the last one, counted from 1970."""
    return (date(years.first, 1, 1) - _EPOCH).days, (date(years.last, 12, 31) - _EPOCH).days + 1


def _micros(texts: pa.Array) -> pa.Array:
    """Returns instants; a text without an offset is a wall clock and counts as UTC."""
    lengths = pc.min_max(pc.binary_length(texts))
    short = texts
    if (lengths["max"].as_py() or 0) > _LONGEST_WALL_CLOCK:
        short = pc.replace_substring_regex(short, r"(\.[0-9]{6})0+", r"\1")
    if lengths["min"].as_py() == _DAY:
        short = pc.replace_substring_regex(short, f"^(.{{{_DAY}}})$", r"\1 00:00")
    has_offset = pc.match_substring_regex(short, f"{_OFFSET}$")
    return pc.cast(pc.if_else(has_offset, short, pc.binary_join_element_wise(short, "Z", "")), _MICROSECOND_UTC)


def escaped(texts: pa.Array) -> pa.Array:
    """Returns texts as TabSeparated has them."""
    for character, written in (("\\", "\\\\"), ("\t", "\\t"), ("\n", "\\n"), ("\r", "\\r")):
        texts = pc.replace_substring(texts, character, written)
    return texts


def swapped(texts: pa.Array) -> pa.Array:
    """Returns texts with points for commas, and commas for points."""
    return pc.replace_substring(pc.replace_substring(pc.replace_substring(texts, ".", "\0"), ",", "."), "\0", ",")


def _pairs(held: pa.Array, texts: pa.Array) -> zip[tuple[bool, str | None]]:
    return zip(held.to_pylist(), texts.to_pylist(), strict=True)
