"""Numbers of the values of files, and their checksums, as the warehouse computes them from the copy."""

from __future__ import annotations

import hashlib
import struct
from collections.abc import Callable, Sequence
from datetime import UTC, date, datetime
from functools import reduce
from operator import xor

from warehouse.quoting import quote

from elt.sources.base import Number
from elt.sources.files import kinds
from elt.sources.files.kinds import precision_and_scale
from elt.verification.canonical import _DIGITS_OF_INT64, _NAN, _scalar
from elt.verification.checksums import _NULL, _NULL_IN_ROW, _PRIME, _WORD, _factor

_FIRST, _FIRST_OFFSET, _SECOND, _SECOND_OFFSET = 2147483647, 715827883, 2147483629, 536870909
_TRUE = frozenset({"true", "t", "yes", "1"})
_EPOCH_DAY = date(1970, 1, 1).toordinal()
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)

ToNumber = Callable[[str], int]


def number_of(name: str, clickhouse: str) -> Number:
    """Returns the expression for a column of the copy."""
    is_nullable = clickhouse.startswith("Nullable(")
    kind = clickhouse.removeprefix("Nullable(")[:-1] if is_nullable else clickhouse
    return Number(name, _scalar("", quote(name), kind, "")[1], is_nullable)


def to_number(kind: str) -> ToNumber:
    """Returns the function from a text that the type holds to its number, a signed 64-bit integer."""
    if kind.startswith("Decimal"):
        precision, scale = precision_and_scale(kind)
        return (lambda text: _scaled(text, scale)) if precision <= _DIGITS_OF_INT64 else _of_long_decimal
    return _BY_KIND[kind]


def mix(number: int) -> int:
    """Returns what a column's checksum adds up, modulo 2^64."""
    return (_remainder(number, _FIRST) + _FIRST_OFFSET) * (_remainder(number, _SECOND) + _SECOND_OFFSET)


class Checksums:
    """Checksums of rows of numbers, by bucket of the key."""

    def __init__(self, width: int, keys: Sequence[int], buckets: int) -> None:
        self._keys = keys
        self._buckets = buckets
        self._width = width
        self.sums: dict[int, list[int]] = {}

    def add(self, columns: Sequence[Sequence[int | None]]) -> None:
        """Adds rows, given as columns."""
        factors = [_factor(place) for place in range(self._width)]
        for row in zip(*columns, strict=True):
            parts = [
                _NULL_IN_ROW * (place + 1) if number is None else _remainder(number, _PRIME) * factors[place]
                for place, number in enumerate(row)
            ]
            sums = self.sums.setdefault(self.bucket(parts), [0] * (2 + self._width))
            sums[0] += 1
            sums[1] += reduce(xor, parts)
            for place, number in enumerate(row, 2):
                sums[place] += _NULL if number is None else mix(number)

    def bucket(self, parts: Sequence[int]) -> int:
        """Returns the bucket of a row, given what its numbers add to the checksum of the rows."""
        if self._buckets == 1:
            return 0
        return _remainder(reduce(xor, (parts[place] for place in self._keys)), 1048573) & (self._buckets - 1)

    def result(self) -> dict[int, tuple[int, ...]]:
        return {bucket: tuple(value % _WORD for value in sums) for bucket, sums in self.sums.items()}


def _remainder(number: int, divisor: int) -> int:
    """Returns the remainder with the sign of the number, as in SQL."""
    return number % divisor if number >= 0 else -(-number % divisor)


def _of_text(text: str) -> int:
    return int.from_bytes(hashlib.md5(text.encode(), usedforsecurity=False).digest()[:8], "big", signed=True)


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
    kinds.INSTANT: _of_instant,
}
