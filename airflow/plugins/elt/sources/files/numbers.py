"""Numbers of the values of files, as the warehouse computes them from the copy."""

from __future__ import annotations

import struct
from collections.abc import Callable
from datetime import UTC, date, datetime

from warehouse.quoting import quote

from elt.sources.base import Number
from elt.sources.checksums import NUMBER_OF_TEXT, number_of_text
from elt.sources.files.type_names import INSTANT, precision_and_scale

_TRUE = frozenset({"true", "t", "yes", "1"})
_EPOCH_DAY = date(1970, 1, 1).toordinal()
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)

_DIGITS_OF_INT32 = 9
_DIGITS_OF_INT64 = 18
_NAN = -1
"""Number of every NaN; it is the bits of one, so that no other float has it."""

ToNumber = Callable[[str], int]


def number_of(name: str, clickhouse: str) -> Number:
    """Returns the expression for a column of the copy."""
    is_nullable = clickhouse.startswith("Nullable(")
    kind = clickhouse.removeprefix("Nullable(")[:-1] if is_nullable else clickhouse
    return Number(name, _in_clickhouse(quote(name), kind), is_nullable)


def _in_clickhouse(name: str, kind: str) -> str:
    if kind in ("Int64", "Bool"):
        return f"toInt64({name})"
    if kind == "Date32":
        return f"toInt64(toInt32({name}))"
    if kind == INSTANT:
        return f"toUnixTimestamp64Micro({name})"
    if kind == "Float64":
        return f"if(isNaN({name}), toInt64({_NAN}), reinterpretAsInt64({name}))"
    if kind.startswith("Decimal"):
        precision, _ = precision_and_scale(kind)
        if precision <= _DIGITS_OF_INT64:
            return f"toInt64(reinterpret({name}, '{'Int32' if precision <= _DIGITS_OF_INT32 else 'Int64'}'))"
        name = f"toString({name})"
    return NUMBER_OF_TEXT.format(name)


def to_number(kind: str) -> ToNumber:
    """Returns the function from a text that the type holds to its number, a signed 64-bit integer."""
    if kind.startswith("Decimal"):
        precision, scale = precision_and_scale(kind)
        return (lambda text: _scaled(text, scale)) if precision <= _DIGITS_OF_INT64 else _of_long_decimal
    return _BY_KIND[kind]


def _of_text(text: str) -> int:
    return number_of_text(text.encode())


def _of_bool(text: str) -> int:
    return int(text.lower() in _TRUE)


def _of_float(text: str) -> int:
    value = float(text)
    return _NAN if value != value else int(struct.unpack("<q", struct.pack("<d", value))[0])


def _of_date(text: str) -> int:
    return date.fromisoformat(text).toordinal() - _EPOCH_DAY


def _of_instant(text: str) -> int:
    found = datetime.fromisoformat(text)
    distance = (found if found.tzinfo is not None else found.replace(tzinfo=UTC)) - _EPOCH
    return (distance.days * 86_400 + distance.seconds) * 1_000_000 + distance.microseconds


def _scaled(text: str, scale: int) -> int:
    whole, _, places = text.partition(".")
    return int(whole + places[:scale].ljust(scale, "0"))


def _of_long_decimal(text: str) -> int:
    """Returns the number of a decimal as ClickHouse prints it: without zeros at its ends."""
    sign = "-" if text.startswith("-") else ""
    whole, _, places = text.lstrip("+-").partition(".")
    whole, places = whole.lstrip("0") or "0", places.rstrip("0")
    plain = f"{whole}.{places}" if places else whole
    return _of_text(plain if plain == "0" else sign + plain)


_BY_KIND: dict[str, ToNumber] = {
    "String": _of_text,
    "Bool": _of_bool,
    "Int64": int,
    "Float64": _of_float,
    "Date32": _of_date,
    INSTANT: _of_instant,
}
